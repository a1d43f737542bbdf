package api

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// TaskNeed is a task that has to end first, and what for. A need that is but a
// text is the name of the task.
type TaskNeed struct {
	// Task is the name of a task of the same plan, or of a PackageRevision.
	// Required; set by the user.
	Task string `yaml:"task,omitempty"`
	// Type is Blocking, Data or Conditional. Default Data when there is an
	// OutputKey, Conditional when there is an On, else Blocking. Set by the
	// user.
	Type NeedType `yaml:"type,omitempty"`
	// OutputKey is the output that is needed. If no binding of the task refers
	// to it, it becomes an input of that name. Set by the user.
	OutputKey string `yaml:"outputKey,omitempty"`
	// On are the ends of the task that meet a Conditional need. Default
	// Completed; set by the user.
	On []string `yaml:"on,omitempty"`
	// Default is used where there is no such output. Default none; set by the
	// user.
	Default any `yaml:"default,omitempty"`
}

func (n *TaskNeed) fromText(task string) { n.Task = task }

// NeedType says when a need is met.
type NeedType string

// The types of needs.
const (
	NeedBlocking    NeedType = "Blocking"    // the task completed or was skipped
	NeedData        NeedType = "Data"        // the task completed and has the output
	NeedConditional NeedType = "Conditional" // the task ended as On says; else this one is skipped
)

// Kind is the need's type: Type, or what its other fields say.
func (n TaskNeed) Kind() NeedType {
	switch {
	case n.Type != "":
		return n.Type
	case n.OutputKey != "":
		return NeedData
	case len(n.On) > 0:
		return NeedConditional
	}
	return NeedBlocking
}

var (
	needTypes = []string{string(NeedBlocking), string(NeedData), string(NeedConditional)}
	// ends are the phases in which a task stays.
	ends = []string{"Completed", "Failed", "Blocked", "Skipped", "Cancelled"}
)

func validateNeeds(p *problems, field string, needs []TaskNeed) {
	type key struct{ task, output string }
	var seen map[key]bool
	if len(needs) > 1 {
		seen = make(map[key]bool, len(needs))
	}
	for i := range needs {
		n, at := &needs[i], field+"["+strconv.Itoa(i)+"]"
		n.validate(p, at)
		if k := (key{n.Task, n.OutputKey}); seen[k] && n.Task != "" {
			p.addf(at, "needs %s twice: keep one", quote(n.Task))
		} else if seen != nil {
			seen[k] = true
		}
	}
}

func (n *TaskNeed) validate(p *problems, field string) {
	if n.Task == "" {
		p.missing(field+".task", "name the task, or PackageRevision, that has to end first")
	} else if why := checkSubdomain(n.Task); why != "" {
		p.addf(field+".task", "%s %s", quote(n.Task), why)
	}
	kind := n.Kind()
	if t := string(kind); !slices.Contains(needTypes, t) {
		p.add(codeType, field+".type", "unknown type of need %s%s (known: %s)", quote(t), DidYouMean(t, needTypes), strings.Join(needTypes, ", "))
		return
	}
	switch {
	case kind == NeedData && n.OutputKey == "":
		p.missing(field+".outputKey", "a need of type %s names the output it is for", NeedData)
	case kind != NeedData && n.OutputKey != "":
		p.addf(field+".outputKey", "is for needs of type %s: write type: %s, or take it out", NeedData, NeedData)
	case n.OutputKey != "" && !isWord(n.OutputKey):
		p.addf(field+".outputKey", "%s can't be an output's name: keys are made of letters, digits, _ and -", quote(n.OutputKey))
	}
	if kind != NeedData && n.Default != nil {
		p.addf(field+".default", "is for needs of type %s, where there is no such output: take it out", NeedData)
	}
	if kind != NeedConditional && len(n.On) > 0 {
		p.addf(field+".on", "is for needs of type %s: write type: %s, or take it out", NeedConditional, NeedConditional)
	}
	for i, end := range n.On {
		if !slices.Contains(ends, end) {
			p.addf(fmt.Sprintf("%s.on[%d]", field, i), "unknown end of a task %s%s (known: %s)", quote(end), DidYouMean(end, ends), strings.Join(ends, ", "))
		}
	}
}
