package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// each is how many resources a file has.
const each = 10

// step is one step of a pipeline.
type step struct {
	function   string // name and tag, as in the catalog
	key, value string // of its configMap
	selector   string // a label that resources must have, with its value; may be empty
}

// basic is the pipeline that most parts run.
func basic(selector string) []step {
	return []step{
		{"set-namespace:v0.4.1", "namespace", "prod", selector},
		{"set-labels:v0.2.0", "team", "data", selector},
		{"set-annotations:v0.1.4", "owner", "somebody", selector},
	}
}

// image is how a step names a builtin function.
func image(function string) string { return "image: gcr.io/kpt-fn/" + function }

// makePackage writes a package of so many files, with a pipeline whose steps
// call names, and returns its directory and size in bytes. One resource of each
// file has the label slice: document, and all resources of each tenth file the
// label part: file.
func (b *bench) makePackage(name string, files int, steps []step, call func(function string) string) (dir string, size int, err error) {
	dir = filepath.Join(b.dir, name)
	if err := os.Mkdir(dir, 0o777); err != nil {
		return "", 0, err
	}
	write := func(name string, content []byte) error {
		size += len(content)
		return os.WriteFile(filepath.Join(dir, name), content, 0o666)
	}
	var k bytes.Buffer
	k.WriteString("apiVersion: kpt.dev/v1\nkind: Kptfile\nmetadata:\n  name: bench\n")
	if len(steps) > 0 {
		k.WriteString("pipeline:\n  mutators:\n")
	}
	for _, s := range steps {
		fmt.Fprintf(&k, "  - %s\n", call(s.function))
		if s.selector != "" {
			fmt.Fprintf(&k, "    selectors:\n    - labels:\n        %s\n", s.selector)
		}
		fmt.Fprintf(&k, "    configMap:\n      %s: %s\n", s.key, s.value)
	}
	if err := write("Kptfile", k.Bytes()); err != nil {
		return "", 0, err
	}
	for i := range files {
		if err := write(fmt.Sprintf("file-%05d.yaml", i), file(i)); err != nil {
			return "", 0, err
		}
	}
	return dir, size, nil
}

func file(i int) []byte {
	var b bytes.Buffer
	for j := range each {
		if j > 0 {
			b.WriteString("---\n")
		}
		slice, part := "rest", "rest"
		if j == i%each {
			slice = "document"
		}
		if i%10 == 0 {
			part = "file"
		}
		fmt.Fprintf(&b, `apiVersion: v1
kind: ConfigMap
metadata:
  name: cm-%d-%d # a comment to keep
  labels:
    app: bench
    slice: %s
    part: %s
  annotations:
    example.com/number: "%d"
data:
  key-one: a value of file %d
  key-two: "a quoted value"
  key-three: |
    two lines
    of text
`, i, j, slice, part, j, i)
	}
	return b.Bytes()
}

// namespaced checks that so many resources of a package got the namespace that
// the basic pipeline sets, so that no figure is of work that wasn't done.
func namespaced(want int) func(dir string) error {
	return func(dir string) error {
		got := 0
		err := eachFile(dir, func(_ string, content []byte) error {
			got += bytes.Count(content, []byte("\n  namespace: prod\n"))
			return nil
		})
		if err == nil && got != want {
			err = fmt.Errorf("%d resources got their namespace, not %d", got, want)
		}
		return err
	}
}

// sameAs checks that a package is another byte for byte.
func sameAs(was string) func(dir string) error {
	return func(dir string) error {
		return eachFile(dir, func(rel string, content []byte) error {
			before, err := os.ReadFile(filepath.Join(was, rel))
			if err == nil && !bytes.Equal(before, content) {
				err = fmt.Errorf("%s changed", rel)
			}
			return err
		})
	}
}

func eachFile(dir string, do func(rel string, content []byte) error) error {
	return filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		return do(strings.TrimPrefix(p, dir+string(filepath.Separator)), content)
	})
}
