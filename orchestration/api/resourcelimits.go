package api

import (
	"math"
	"regexp"
	"strconv"
	"strings"
)

// TaskResources bound a function that runs as a process or in a container.
type TaskResources struct {
	// Memory in bytes, with a suffix as in Kubernetes (64Mi). Default the
	// operator's; set by the user.
	Memory string `yaml:"memory,omitempty"`
	// CPU is processors as in Kubernetes (500m, 2), for containers. Default the
	// operator's; set by the user.
	CPU string `yaml:"cpu,omitempty"`
	// CPUTime is the processor time of a process. Default the operator's; set by
	// the user.
	CPUTime Duration `yaml:"cpuTime,omitempty"`
	// Processes is how many there may be. Default the operator's; set by the
	// user.
	Processes int `yaml:"processes,omitempty"`
}

// MemoryBytes is Memory as a number, 0 when it is unset.
func (r *TaskResources) MemoryBytes() int64 {
	n, _ := parseQuantity(r.Memory)
	return int64(math.Ceil(n))
}

// CPUs is CPU as a number, 0 when it is unset.
func (r *TaskResources) CPUs() float64 {
	n, _ := parseQuantity(r.CPU)
	return n
}

// quantityForm is a quantity as Kubernetes has it, without a sign.
var quantityForm = regexp.MustCompile(`^([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:([numkMGTPE]|[KMGTPE]i)|([eE][-+]?[0-9]+))?$`)

// parseQuantity reads a quantity; ok is false for what is none.
func parseQuantity(s string) (n float64, ok bool) {
	m := quantityForm.FindStringSubmatch(s)
	if m == nil {
		return 0, false
	}
	n, err := strconv.ParseFloat(m[1]+m[3], 64)
	if err != nil {
		return 0, false
	}
	if binary, ok := strings.CutSuffix(m[2], "i"); ok {
		return math.Ldexp(n, 10*(1+strings.Index("KMGTPE", binary))), true
	}
	switch m[2] {
	case "n":
		return n / 1e9, true
	case "u":
		return n / 1e6, true
	case "m":
		return n / 1e3, true
	case "":
		return n, true
	}
	return n * math.Pow10(3*(1+strings.Index("kMGTPE", m[2]))), true
}

func (r *TaskResources) validate(p *problems, field string) {
	if n, ok := parseQuantity(r.Memory); r.Memory != "" && (!ok || n < 1 || n > math.MaxInt64/2) {
		p.addf(field+".memory", "is %s: write bytes as in Kubernetes, such as 64Mi", quote(r.Memory))
	}
	if n, ok := parseQuantity(r.CPU); r.CPU != "" && (!ok || n < 0.001 || n > 1e6) {
		p.addf(field+".cpu", "is %s: write processors as in Kubernetes, such as 500m or 2", quote(r.CPU))
	}
	r.CPUTime.validate(p, field, "cpuTime")
	if r.Processes < 0 {
		p.addf(field+".processes", "is %d: write how many there may be, at least 1", r.Processes)
	}
}
