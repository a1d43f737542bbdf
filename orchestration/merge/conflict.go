package merge

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/stoop-dev/stoop/fn"
	"github.com/stoop-dev/stoop/orchestration/api"
)

// Side is who wins a conflict.
type Side string

// The sides of a conflict.
const (
	Local    Side = "local"
	Upstream Side = "upstream"
)

// Policy settles conflicts.
type Policy string

// The policies.
const (
	// Fail settles nothing: conflicts are an error. It is the default.
	Fail Policy = "fail"
	// TakeLocal keeps what is there locally.
	TakeLocal Policy = "local"
	// TakeUpstream takes upstream's values, as kpt does: of fields. A whole
	// resource or file that one side deleted, and a file without resources that
	// both changed, stay as they are locally, as with kpt; only Resolve takes
	// upstream's.
	TakeUpstream Policy = "upstream"
)

func (p Policy) check() error {
	switch p {
	case "", Fail, TakeLocal, TakeUpstream:
		return nil
	}
	return fmt.Errorf("unknown way to settle conflicts %q: use fail, local or upstream", p)
}

// Resolutions settle conflicts by place. A key is FILE:PATH as [Conflict.Place]
// gives it, without [Options.Dir], or the beginning of one up to a separator:
// FILE settles everything in a file, FILE:spec everything below spec.
type Resolutions map[string]Side

// ParseResolve reads arguments of the form FILE:PATH=local or
// FILE:PATH=upstream into Resolutions. Files are named as a shell completes them,
// with ./ before or / behind them, or as conflicts do. The same place twice is an
// error.
func ParseResolve(args []string) (Resolutions, error) {
	r := make(Resolutions, len(args))
	for _, a := range args {
		i := strings.LastIndexByte(a, '=')
		if i < 0 {
			return nil, fmt.Errorf("resolve %q: want FILE:PATH=local or FILE:PATH=upstream", a)
		}
		place, side := a[:i], Side(a[i+1:])
		switch {
		case place == "":
			return nil, fmt.Errorf("resolve %q: names no file: want FILE:PATH=local or FILE:PATH=upstream", a)
		case side != Local && side != Upstream:
			return nil, fmt.Errorf("resolve %q: unknown side %q: want local or upstream", a, side)
		}
		file, field, _ := strings.Cut(place, ":")
		if place = path.Clean(file); field != "" {
			place += ":" + field
		}
		if _, twice := r[place]; twice {
			return nil, fmt.Errorf("resolve %q: %s is resolved twice", a, place)
		}
		r[place] = side
	}
	return r, nil
}

// Below returns the resolutions for what is in a directory, by places without it.
func (r Resolutions) Below(dir string) Resolutions {
	in := Resolutions{}
	for place, side := range r {
		if dir == "." {
			in[place] = side
		} else if rel, ok := strings.CutPrefix(place, dir+"/"); ok {
			in[rel] = side
		}
	}
	return in
}

// Conflict is a place that local and upstream changed differently since base.
type Conflict struct {
	// File is where it is locally, else upstream. For a subpackage it is the
	// directory.
	File string
	// Line is the line of the local file, counted from one; 0 where the place
	// isn't there locally.
	Line int
	// Resource is the object, zero for a file that holds none.
	Resource fn.ResourceRef
	// Field is the path of the field below the object, as in
	// spec.containers[name=web].image; empty for a whole resource or file.
	Field string
	// Base, Local and Upstream are the values as YAML on one line, empty where
	// there is none. Of whole resources and files they say in a word what became
	// of them.
	Base, Local, Upstream string
	// Taken is the side that won, empty while that is open.
	Taken Side
	// Reason says in a few words what happened.
	Reason string
	// Info says that the conflict needs nobody's decision: an input of the
	// package's own that stays as it is locally, or what a strategy that was
	// chosen does by definition.
	Info bool

	scope string // "Kind/name:" where File has more than one resource
	dir   string // before File, where the user reads it
	id    identity
	input bool // it is about an input of the package's own, which rendering reads
}

// Place is where the conflict is, as the user names it: FILE:PATH, or just FILE
// when the whole of it is meant. In a file with more than one resource the path
// begins with Kind/name: or Kind/namespace/name:.
func (c Conflict) Place() string { return path.Join(c.dir, c.place()) }

// place is Place without the directory, as Resolutions name it.
func (c Conflict) place() string {
	p := c.File
	if s := c.scope + c.Field; s != "" {
		p += ":" + strings.TrimSuffix(s, ":")
	}
	return p
}

// Accept is the argument for --resolve that settles the conflict for side. It
// isn't quoted for a shell.
func (c Conflict) Accept(s Side) string { return c.Place() + "=" + string(s) }

// Result is the conflict as a function's result: an error while it is open,
// information where nobody needs to decide, else a warning. The field's current
// value is local's, the proposed one upstream's.
func (c Conflict) Result() fn.Result {
	r := fn.Result{Severity: fn.Warning, File: &fn.File{Path: c.File}, Tags: map[string]string{"base": c.Base}}
	switch {
	case c.Taken == "":
		r.Severity = fn.Error
	case c.Info:
		r.Severity = fn.Info
	}
	if c.Resource != (fn.ResourceRef{}) {
		ref := c.Resource
		r.ResourceRef = &ref
	}
	if c.Field != "" {
		r.Field = &fn.Field{Path: c.Field, CurrentValue: c.Local, ProposedValue: c.Upstream}
	}
	if c.Line > 0 {
		r.Message = fmt.Sprintf("line %d: ", c.Line)
	}
	r.Message += c.Reason
	if c.Taken != "" {
		r.Message += fmt.Sprintf(" (%s taken)", c.Taken)
	} else {
		r.Message += fmt.Sprintf("; accept one with --resolve '%s' or '%s'", c.Accept(Local), c.Accept(Upstream))
	}
	return r
}

// Conflicts are conflicts by file and line.
type Conflicts []Conflict

func (cs Conflicts) sort() {
	slices.SortStableFunc(cs, func(a, b Conflict) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line))
	})
}

// open are the conflicts that somebody has to settle.
func (cs Conflicts) open() Conflicts {
	var out Conflicts
	for _, c := range cs {
		if c.Taken == "" {
			out = append(out, c)
		}
	}
	return out
}

// cellWidth is how many characters of a value a table shows.
const cellWidth = 40

// Table shows the conflicts as aligned columns: place, field, the three values,
// and the side taken where one is. Long values are cut.
func (cs Conflicts) Table() string {
	rows := [][]string{{"FILE", "FIELD", "BASE", "LOCAL", "UPSTREAM", "TAKEN"}}
	for _, c := range cs {
		file := path.Join(c.dir, c.File)
		if c.Line > 0 {
			file = fmt.Sprintf("%s:%d", file, c.Line)
		}
		field := strings.TrimSuffix(c.scope+c.Field, ":")
		if field == "" {
			field = "-"
		}
		rows = append(rows, []string{file, field, cell(c.Base), cell(c.Local), cell(c.Upstream), cell(string(c.Taken))})
	}
	var widths [6]int
	for _, r := range rows {
		for i, s := range r {
			widths[i] = max(widths[i], utf8.RuneCountInString(s))
		}
	}
	var b strings.Builder
	for _, r := range rows {
		line := ""
		for i, s := range r {
			line += s + strings.Repeat(" ", widths[i]-utf8.RuneCountInString(s)+2)
		}
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	return b.String()
}

func cell(s string) string {
	if s == "" {
		return "-"
	}
	if r := []rune(s); len(r) > cellWidth {
		return string(r[:cellWidth-1]) + "…"
	}
	return s
}

// ConflictError says that conflicts are left to be settled.
type ConflictError struct {
	Conflicts Conflicts // at least one; those settled aren't among them
}

// Error says how many there are and shows them.
func (e *ConflictError) Error() string {
	places := "places"
	if len(e.Conflicts) == 1 {
		places = "place"
	}
	return fmt.Sprintf("local and upstream changed %d %s differently; settle each with --resolve '%s' (or =%s), or all with --on-conflict local|upstream:\n%s",
		len(e.Conflicts), places, e.Conflicts[0].Accept(Local), Upstream, strings.TrimSuffix(e.Conflicts.Table(), "\n"))
}

// settle notes a conflict and returns the side that wins it. The policy upstream
// wins only where it may; while a conflict is open, local is returned.
func (m *merger) settle(c Conflict, mayTakeUpstream bool) Side {
	c.File, c.dir, c.input = path.Join(m.prefix, c.File), m.Dir, c.Reason == ownInput
	for _, value := range []*string{&c.Base, &c.Local, &c.Upstream} {
		*value = quoted(*value)
	}
	switch side, ok := m.resolution(c); {
	case ok:
		if c.Info && side != cmp.Or(c.Taken, Local) {
			c.Reason = resolved[c.Reason]
		}
		c.Taken, c.Info = side, false
	case m.settled.conflicts[c.at()] && !c.Info:
		return Upstream
	case c.Info:
		if c.Taken == "" {
			c.Taken = Local
		}
	case m.OnConflict == TakeLocal || m.OnConflict == TakeUpstream && !mayTakeUpstream:
		c.Taken = Local
	case m.OnConflict == TakeUpstream:
		c.Taken = Upstream
	}
	m.conflicts = append(m.conflicts, c)
	if c.Taken == "" {
		return Local
	}
	return c.Taken
}

// maxValue is how much of a value a conflict quotes, in bytes.
const maxValue = 4096

// quoted is a value as a conflict shows it: without passwords, which are found only
// before it is cut, and not too long.
func quoted(value string) string {
	value = api.HidePasswords(value)
	if len(value) > maxValue {
		value = strings.ToValidUTF8(value[:maxValue], "") + "…"
	}
	return value
}

// resolution finds what Resolve says of a conflict: the longest key wins.
func (m *merger) resolution(c Conflict) (Side, bool) {
	if len(m.Resolve) == 0 {
		return "", false
	}
	for key := c.place(); ; {
		if side, ok := m.Resolve[key]; ok {
			m.used[key] = true
			return side, true
		}
		i := strings.LastIndexAny(key, ".[:")
		if i < len(c.File) {
			return "", false
		}
		key = key[:i]
	}
}

func (m *merger) unused() []string {
	var out []string
	for key := range m.Resolve {
		if !m.used[key] {
			out = append(out, key)
		}
	}
	slices.Sort(out)
	return out
}
