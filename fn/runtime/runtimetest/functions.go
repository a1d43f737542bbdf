package runtimetest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/stoop-dev/stoop/fn"
	"github.com/stoop-dev/stoop/fn/runtime"
	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// Functions are what [Conform] wants a runtime to run, by name. A runtime that
// takes functions of this process can offer them as they are, one that runs
// programs through [Main].
var Functions = map[string]fn.Func{
	"identity": func(context.Context, *fn.Call) error { return nil },
	// label labels every item with the value its config asks for
	"label": func(_ context.Context, c *fn.Call) error {
		if c.Config == nil {
			return errors.New("no functionConfig")
		}
		value := c.Config.GetDataMap()["value"]
		for _, o := range c.Items {
			if err := o.Node.PipeE(
				yaml.LookupCreate(yaml.MappingNode, "metadata", "labels"),
				yaml.SetField("test", yaml.NewStringRNode(value)),
			); err != nil {
				return err
			}
		}
		return nil
	},
	// generate adds a ConfigMap in a file of its own
	"generate": func(_ context.Context, c *fn.Call) error {
		c.Items = append(c.Items, &fn.Object{
			Node: yaml.MustParse("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: made\n"),
			Path: "made/cm.yaml",
		})
		return nil
	},
	// delete removes the first item
	"delete": func(_ context.Context, c *fn.Call) error {
		c.Items = c.Items[1:]
		return nil
	},
	// results has something to say about the first item, in three severities
	"results": func(_ context.Context, c *fn.Call) error {
		c.Add(fn.Warning, c.Items[0], "data.k", "odd")
		c.Add(fn.Info, c.Items[0], "", "seen")
		c.Results[0].Tags = map[string]string{"t": "1"}
		return nil
	},
	// fail fails with a result, after spoiling the items
	"fail": func(_ context.Context, c *fn.Call) error {
		c.Add(fn.Error, c.Items[0], "data.k", "k is wrong")
		c.Items = nil
		return errors.New("it went wrong")
	},
	// sleep ends when it is told to, or after a minute
	"sleep": func(ctx context.Context, _ *fn.Call) error {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(time.Minute):
			return nil
		}
	},
}

// InProcess offers Functions as images of their names.
type InProcess struct{}

// Find implements runtime.Runtime.
func (InProcess) Find(_ context.Context, ref runtime.Ref) (*runtime.Function, error) {
	f, ok := Functions[ref.Image]
	if !ok {
		return nil, fmt.Errorf("in process: %w: %s", runtime.ErrNotFound, ref)
	}
	return &runtime.Function{Name: ref.Image, Run: f}, nil
}

// Main makes a test binary a KRM function: call it first in TestMain. When the
// program was started as `BINARY krm-function NAME` it runs that function on its
// standard input and exits; otherwise it returns. Besides Functions there are
//
//	empty      exits 0 and prints nothing
//	garbage    exits 0 and prints what is no ResourceList, and why to standard error
//	stderr     does nothing and talks on standard error
//	stubborn   never ends and ignores requests to
//	flood      prints without end
//	environ    gives its environment and arguments as results
//	hog        takes 512 MiB of memory
func Main() {
	if len(os.Args) < 3 || os.Args[1] != "krm-function" {
		return
	}
	os.Exit(program(os.Args[2]))
}

func program(name string) int {
	in, err := io.ReadAll(os.Stdin)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 3
	}
	f := Functions[name]
	switch name {
	case "empty":
		return 0
	case "garbage":
		fmt.Fprintln(os.Stderr, "lost my mind")
		fmt.Println("hello")
		return 0
	case "stderr":
		fmt.Fprintln(os.Stderr, "talking")
		f = Functions["identity"]
	case "stubborn":
		ignoreRequests()
		time.Sleep(time.Minute)
	case "flood":
		for chunk := make([]byte, 1<<16); ; {
			if _, err := os.Stdout.Write(chunk); err != nil {
				return 4
			}
		}
	case "environ":
		f = func(_ context.Context, c *fn.Call) error {
			for _, s := range append(os.Environ(), os.Args...) {
				c.Add(fn.Info, nil, "", s)
			}
			return nil
		}
	case "hog":
		b := make([]byte, 512<<20)
		for i := 0; i < len(b); i += 4096 {
			b[i] = 1
		}
		f = Functions["identity"]
	}
	if f == nil {
		fmt.Fprintln(os.Stderr, "no function", name)
		return 5
	}
	out, results, err := fn.Serve(context.Background(), f, in)
	if err != nil {
		fmt.Fprintln(os.Stderr, "failing:", err)
		list, _ := yaml.Marshal(map[string]any{
			"apiVersion": "config.kubernetes.io/v1", "kind": "ResourceList", "items": []any{}, "results": results,
		})
		os.Stdout.Write(list)
		return 7
	}
	os.Stdout.Write(out)
	return 0
}
