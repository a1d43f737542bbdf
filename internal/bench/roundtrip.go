package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"

	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// roundTrip parses every YAML file of a directory into nodes and writes them
// back: the least that a tool does that serialises what it has read.
func roundTrip(dir string) error {
	names, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil {
		return err
	}
	for _, name := range names {
		in, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		var out bytes.Buffer
		d, e := yaml.NewDecoder(bytes.NewReader(in)), yaml.NewEncoder(&out)
		for {
			var n yaml.Node
			if err := d.Decode(&n); err == io.EOF {
				break
			} else if err != nil {
				return err
			}
			if err := e.Encode(&n); err != nil {
				return err
			}
		}
		if err := e.Close(); err != nil {
			return err
		}
		if err := os.WriteFile(name, out.Bytes(), 0o666); err != nil {
			return err
		}
	}
	return nil
}
