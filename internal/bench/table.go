package main

import (
	"fmt"
	"strings"
)

// table prints figures as they come, each with its aim beside it.
type table struct {
	missed []string
}

const labelWidth = 52

func (t *table) head(name, title string) {
	fmt.Printf("\n%-*s %9s %9s %9s\n", labelWidth, name+": "+title, "CPU s", "wall s", "peak MB")
}

func (t *table) cost(label string, c cost) {
	fmt.Printf("  %-*s %9.3f %9.3f %9.1f\n", labelWidth-2, label, c.cpu.Seconds(), c.wall.Seconds(), float64(c.peak)/1e6)
}

// figure prints one that has no aim.
func (t *table) figure(label string, is float64, unit string) {
	fmt.Printf("  %-*s %9.2f %s\n", labelWidth-2, "= "+label, is, unit)
}

// atMost prints a figure that had better be small.
func (t *table) atMost(label string, is, aim float64, unit string) {
	t.aim(label, is, unit, "at most", aim, is <= aim)
}

// atLeast prints a figure that had better be large.
func (t *table) atLeast(label string, is, aim float64, unit string) {
	t.aim(label, is, unit, "at least", aim, is >= aim)
}

func (t *table) aim(label string, is float64, unit, how string, aim float64, met bool) {
	verdict := "ok"
	if !met {
		verdict = "MISSED"
		t.missed = append(t.missed, label)
	}
	fmt.Printf("  %-*s %9.2f %-3s aim: %s %.4g %s, %s\n", labelWidth-2, "= "+label, is, unit, how, aim, unit, verdict)
}

func (t *table) foot() {
	if len(t.missed) == 0 {
		fmt.Println("\nall aims are met")
		return
	}
	fmt.Printf("\nmissed: %s\n", strings.Join(t.missed, "; "))
}
