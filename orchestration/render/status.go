package render

import (
	"bytes"
	"fmt"
	"io"
	"time"

	"github.com/stoop-dev/stoop/fn"
	"github.com/stoop-dev/stoop/orchestration/kptpkg"
	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// Phase is the part of a pipeline a step belongs to.
type Phase string

// The phases, in the order they run.
const (
	Mutator   Phase = "mutator"
	Validator Phase = "validator"
	// Evaluation is the one function of [Renderer.Eval], which no pipeline names.
	Evaluation Phase = "eval"
)

// StepStatus is how one step of a pipeline went.
type StepStatus struct {
	// Package is the package as messages name it, root/db; Dir is its directory
	// below the root, "." for the root.
	Package, Dir string
	// Phase and Number say which step it is, counted from 1 in its phase; the
	// function of an Evaluation has number 0.
	Phase  Phase
	Number int
	// Name is the step's own name, mostly empty. Exactly one of Image and Exec
	// is set; Image is complete, with registry and tag.
	Name, Image, Exec string
	// Items is how many resources the function got; Selecting is true when the
	// step has selectors or exclusions.
	Items     int
	Selecting bool
	// Skipped says why the function wasn't called, since its condition isn't met
	// for one; empty when it was.
	Skipped string
	// ExitCode is 0 for success.
	ExitCode int
	// Stderr is what the function wrote there.
	Stderr string
	// Results are the function's, as it said them: paths are relative to the
	// package a resource belongs to.
	Results []fn.Result
	// Notes are what there is to say about the choice of the function, beside
	// its results.
	Notes []fn.Result
	// ExecutionError says why the function wasn't run, or why what it returned
	// wasn't taken; empty when the function itself failed.
	ExecutionError string
	// Took is how long the function ran.
	Took time.Duration
}

// String is the step in messages: mutator 2 (set-namespace:v0.4), or
// eval (set-namespace:v0.4).
func (s *StepStatus) String() string {
	function := kptpkg.Function{Name: s.Name, Image: s.Image, Exec: s.Exec}
	if s.Phase == Evaluation {
		return fmt.Sprintf("%s (%s)", s.Phase, function)
	}
	return fmt.Sprintf("%s %d (%s)", s.Phase, s.Number, function)
}

// what names the step's function as kpt's status does.
func (s *StepStatus) what() string {
	switch {
	case s.Name != "":
		return s.Name
	case s.Image != "":
		return s.Image
	}
	return s.Exec
}

// Condition is the condition that kpt sets in the root Kptfile.
func (r *Rendered) Condition() kptpkg.Condition {
	if r.failure == nil {
		return kptpkg.Condition{Type: "Rendered", Status: "True", Reason: "RenderSuccess"}
	}
	return kptpkg.Condition{Type: "Rendered", Status: "False", Reason: "RenderFailed", Message: r.failure.message}
}

// renderStatus is status.renderStatus of a Kptfile.
type renderStatus struct {
	MutationSteps   []pipelineStep `yaml:"mutationSteps,omitempty"`
	ValidationSteps []pipelineStep `yaml:"validationSteps,omitempty"`
	ErrorSummary    string         `yaml:"errorSummary,omitempty"`
}

type pipelineStep struct {
	Name           string      `yaml:"name,omitempty"`
	Image          string      `yaml:"image,omitempty"`
	Exec           string      `yaml:"exec,omitempty"`
	ExecutionError string      `yaml:"executionError,omitempty"`
	Stderr         string      `yaml:"stderr,omitempty"`
	ExitCode       int         `yaml:"exitCode"`
	Results        []fn.Result `yaml:"results,omitempty"`
	ErrorResults   []fn.Result `yaml:"errorResults,omitempty"`
}

// RenderStatusNode is what kpt writes to status.renderStatus of the root
// Kptfile: every step with what it said, and what failed in one line. It is nil
// when there was no step. The caller may change it.
func (r *Rendered) RenderStatusNode() *yaml.Node {
	if len(r.Steps) == 0 {
		return nil
	}
	var st renderStatus
	for i := range r.Steps {
		s := &r.Steps[i]
		p := pipelineStep{
			Name: s.Name, Image: s.Image, Exec: s.Exec, ExecutionError: s.ExecutionError,
			Stderr: s.Stderr, ExitCode: s.ExitCode, Results: s.Results,
		}
		for _, res := range s.Results {
			if res.Severity == fn.Error {
				p.ErrorResults = append(p.ErrorResults, res)
			}
		}
		if s.Phase == Validator {
			st.ValidationSteps = append(st.ValidationSteps, p)
		} else {
			st.MutationSteps = append(st.MutationSteps, p)
		}
		switch {
		case s.ExecutionError != "":
			st.ErrorSummary = s.what() + ": " + s.ExecutionError
		case s.ExitCode != 0:
			st.ErrorSummary = fmt.Sprintf("%s: exit code %d", s.what(), s.ExitCode)
		}
	}
	return encode(st)
}

// ResultList is the results file of `kpt fn render --results-dir`.
type ResultList struct {
	APIVersion string           `yaml:"apiVersion"`
	Kind       string           `yaml:"kind"`
	Metadata   ResultListMeta   `yaml:"metadata"`
	ExitCode   int              `yaml:"exitCode"` // 1 when a function failed
	Items      []FunctionResult `yaml:"items,omitempty"`
}

// ResultListMeta is the metadata of a ResultList.
type ResultListMeta struct {
	Name string `yaml:"name"`
}

// FunctionResult is how one function of a ResultList went.
type FunctionResult struct {
	Image    string      `yaml:"image,omitempty"`
	Exec     string      `yaml:"exec,omitempty"`
	Stderr   string      `yaml:"stderr,omitempty"`
	ExitCode int         `yaml:"exitCode"`
	Results  []fn.Result `yaml:"results,omitempty"`
}

// ResultList is what kpt would write to its results directory. As there, a step
// with an ExecutionError isn't in it and doesn't count for the exit code.
func (r *Rendered) ResultList() ResultList {
	l := ResultList{APIVersion: "kpt.dev/v1", Kind: "FunctionResultList", Metadata: ResultListMeta{Name: "fnresults"}}
	for _, s := range r.Steps {
		if s.ExecutionError != "" {
			continue
		}
		if s.ExitCode != 0 {
			l.ExitCode = 1
		}
		l.Items = append(l.Items, FunctionResult{Image: s.Image, Exec: s.Exec, Stderr: s.Stderr, ExitCode: s.ExitCode, Results: s.Results})
	}
	return l
}

// ResultsFile is the name kpt gives the file in the results directory.
const ResultsFile = "results.yaml"

// WriteTo writes the list as YAML in kpt's style.
func (l ResultList) WriteTo(w io.Writer) (int64, error) {
	var b bytes.Buffer
	e := yaml.NewEncoderWithOptions(&b, &yaml.EncoderOptions{SeqIndent: yaml.WideSequenceStyle})
	if err := e.Encode(l); err != nil {
		return 0, fmt.Errorf("writing results: %w", err)
	}
	if err := e.Close(); err != nil {
		return 0, fmt.Errorf("writing results: %w", err)
	}
	return b.WriteTo(w)
}

// encode is v as nodes. v holds strings, numbers and what YAML was decoded to.
func encode(v any) *yaml.Node {
	n := new(yaml.Node)
	if err := n.Encode(v); err != nil {
		// a value in a result that has no YAML form: say so where it would be
		return &yaml.Node{Kind: yaml.MappingNode, Content: []*yaml.Node{
			{Kind: yaml.ScalarNode, Value: "errorSummary"}, {Kind: yaml.ScalarNode, Value: err.Error()},
		}}
	}
	return n
}
