package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// render: beside a plain round trip and beside kpt.
func (b *bench) render() error {
	pkg, _, err := b.makePackage("render", 100, basic(""), image)
	if err != nil {
		return err
	}
	plain, err := b.measure(pkg, nil, b.self, "-round-trip")
	if err != nil {
		return err
	}
	b.table.cost("plain YAML round trip", plain)
	ours, err := b.measure(pkg, namespaced(1000), b.stoop, "render")
	if err != nil {
		return err
	}
	b.table.cost("stoop render", ours)
	b.table.atMost("stoop render against the round trip, CPU", ratio(ours.cpu, plain.cpu), 1.5, "x")
	if b.kpt == "" {
		return nil
	}
	execs, _, err := b.makePackage("render-exec", 100, basic(""), func(f string) string { return "exec: " + b.krmfn + " " + f })
	if err != nil {
		return err
	}
	theirs, err := b.measure(execs, namespaced(1000), b.kpt, "fn", "render", "--allow-exec")
	if err != nil {
		return err
	}
	b.table.cost("kpt fn render, the functions as executables", theirs)
	b.table.atLeast("kpt against stoop render, CPU", ratio(theirs.cpu, ours.cpu), 40, "x")
	return nil
}

// nothing: the start by itself, and a large directory without orders.
func (b *bench) nothing() error {
	start, err := b.measure("", nil, b.stoop, "version")
	if err != nil {
		return err
	}
	b.table.cost("stoop version", start)
	b.table.atMost("start-up, wall", start.wall.Seconds()*1000, 20, "ms")
	pkg, _, err := b.makePackage("nothing", 1300, basic(""), image)
	if err != nil {
		return err
	}
	plain, err := b.measure(pkg, nil, b.self, "-round-trip")
	if err != nil {
		return err
	}
	b.table.cost("plain YAML round trip, 1,300 files", plain)
	idle, err := b.measure(pkg, sameAs(pkg), b.stoop, "run")
	if err != nil {
		return err
	}
	b.table.cost("stoop run without orders, 1,300 files, none changed", idle)
	b.table.atMost("stoop run against the round trip, CPU", ratio(idle.cpu, plain.cpu), 0.25, "x")
	return nil
}

// touch: few of many documents change, spread over all files or not.
func (b *bench) touch() error {
	for _, c := range []struct{ name, selector string }{
		{"one document of each file", "slice: document"},
		{"all documents of each tenth file", "part: file"},
	} {
		pkg, _, err := b.makePackage("touch-"+c.name, 100, basic(c.selector), image)
		if err != nil {
			return err
		}
		plain, err := b.measure(pkg, nil, b.self, "-round-trip")
		if err != nil {
			return err
		}
		b.table.cost("plain YAML round trip", plain)
		ours, err := b.measure(pkg, namespaced(100), b.stoop, "render")
		if err != nil {
			return err
		}
		b.table.cost("stoop render, "+c.name, ours)
		b.table.atMost("stoop render against the round trip, CPU", ratio(ours.cpu, plain.cpu), 1, "x")
	}
	return nil
}

// steps: what ten steps more cost.
func (b *bench) steps() error {
	all := []step{
		{"set-labels:v0.2.0", "team", "data", ""},
		{"set-namespace:v0.4.1", "namespace", "prod", ""},
		{"set-annotations:v0.1.4", "owner", "somebody", ""},
		{"set-labels:v0.2.0", "env", "prod", ""},
		{"set-annotations:v0.1.4", "cost-center", "a1", ""},
		{"apply-setters:v0.2.0", "team", "data", ""},
		{"set-labels:v0.2.0", "team", "platform", ""},
		{"set-annotations:v0.1.4", "contact", "someone", ""},
		{"set-labels:v0.2.0", "region", "north", ""},
		{"set-annotations:v0.1.4", "owner", "nobody", ""},
		{"set-labels:v0.2.0", "zone", "a", ""},
	}
	var costs []cost
	for _, n := range []int{1, len(all)} {
		pkg, _, err := b.makePackage(fmt.Sprintf("steps-%d", n), 100, all[:n], image)
		if err != nil {
			return err
		}
		c, err := b.measure(pkg, nil, b.stoop, "render")
		if err != nil {
			return err
		}
		b.table.cost(fmt.Sprintf("stoop render, %d steps", n), c)
		costs = append(costs, c)
	}
	b.table.atMost("11 steps against 1, CPU", ratio(costs[1].cpu, costs[0].cpu), 2, "x")
	return nil
}

// scale: time and memory as packages grow.
func (b *bench) scale() error {
	var first float64
	for _, files := range []int{100, 1_000, 10_000} {
		n := files * each
		pkg, size, err := b.makePackage(fmt.Sprintf("scale-%d", files), files, basic(""), image)
		if err != nil {
			return err
		}
		c, err := b.measure(pkg, namespaced(n), b.stoop, "render")
		if err != nil {
			return err
		}
		b.table.cost(fmt.Sprintf("stoop render, %d resources, %.1f MB", n, float64(size)/1e6), c)
		per := float64(c.cpu.Microseconds()) / float64(n)
		if first == 0 {
			first = per
		}
		b.table.atMost("CPU for a resource, against that of 1,000", per/first, 1.25, "x")
		b.table.atMost("peak, the aim is 40 times the package + 60 MB", float64(c.peak)/1e6, 40*float64(size)/1e6+60, "MB")
	}
	return nil
}

// exec: what the process that renders costs when functions are executables.
// They tell what they cost themselves; the rest is the renderer's.
func (b *bench) exec() error {
	report := filepath.Join(b.dir, "functions")
	pkg, _, err := b.makePackage("exec", 100, basic(""), func(f string) string {
		return "exec: " + b.krmfn + " " + f + " " + report
	})
	if err != nil {
		return err
	}
	own := func(name string, args ...string) (cost, error) {
		var all cost
		for range b.runs {
			if err := os.RemoveAll(report); err != nil {
				return cost{}, err
			}
			c, err := b.once(pkg, namespaced(1000), name, args)
			if err != nil {
				return cost{}, err
			}
			functions, err := readCosts(report, len(basic("")))
			if err != nil {
				return cost{}, err
			}
			c.cpu -= functions
			all.least(c)
		}
		return all, nil
	}
	ours, err := own(b.stoop, "render", "--allow-exec="+b.krmfn)
	if err != nil {
		return err
	}
	b.table.cost("stoop render, its own process", ours)
	if b.kpt == "" {
		return nil
	}
	theirs, err := own(b.kpt, "fn", "render", "--allow-exec")
	if err != nil {
		return err
	}
	b.table.cost("kpt fn render, its own process", theirs)
	b.table.atLeast("kpt against stoop, own process, CPU", ratio(theirs.cpu, ours.cpu), 2, "x")
	return nil
}

// readCosts adds up what functions have written down, a line each.
func readCosts(name string, want int) (time.Duration, error) {
	f, err := os.Open(name)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	var sum time.Duration
	lines := bufio.NewScanner(f)
	for ; lines.Scan(); want-- {
		took, e := strconv.ParseInt(lines.Text(), 10, 64)
		err = errors.Join(err, e)
		sum += time.Duration(took)
	}
	if err = errors.Join(err, lines.Err()); err == nil && want != 0 {
		err = fmt.Errorf("%s: %d functions too few told their cost", name, want)
	}
	return sum, err
}

func ratio(a, b time.Duration) float64 { return a.Seconds() / b.Seconds() }
