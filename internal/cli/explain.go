package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"github.com/stoop-dev/stoop/orchestration/api"
)

func (a *app) explainCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "explain KIND[.FIELD...]",
		Short: "Say what an object's fields mean",
		Long: `Describes a kind of object that stoop reads, or one of its fields, as in
stoop explain Plan.spec.tasks.clone. With -o json it prints the JSON Schema (draft
2020-12), for editors and linters. Without a kind it lists the kinds.`,
		RunE: func(_ *cobra.Command, args []string) error {
			switch {
			case output != "text" && output != "json":
				return usageError("--output is %q: write text or json", output)
			case len(args) > 1:
				return usageError("explain takes one KIND[.FIELD...]: run `stoop explain --help`")
			case len(args) == 0:
				return listKinds(a.out)
			}
			e, err := find(args[0])
			if err != nil {
				return err
			}
			if output == "json" {
				return e.json(a.out)
			}
			return e.text(a.out)
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "text", "`FORMAT`: text or json")
	return cmd
}

func listKinds(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "KIND\tVERSION\tIS")
	for _, k := range api.Kinds() {
		fmt.Fprintf(t, "%s\t%s\t%s\n", k.Kind, k.APIVersion, firstSentence(api.SchemaOf(k).Description))
	}
	return t.Flush()
}

// explained is a kind, or one of its fields.
type explained struct {
	kind  api.KindName
	root  *api.Schema
	path  string      // of the field, empty for the kind itself
	field *api.Schema // the kind's or the field's
}

// find looks a kind or field up by its path. Lists and maps are passed by: the
// fields of tasks are those of each of them.
func find(path string) (*explained, error) {
	name, rest, _ := strings.Cut(path, ".")
	var e explained
	var names []string
	for _, k := range api.Kinds() {
		if strings.EqualFold(k.Kind, name) {
			e.kind, e.root = k, api.SchemaOf(k)
		}
		names = append(names, k.Kind)
	}
	if e.root == nil {
		return nil, usageError("unknown kind %q%s (known: %s)", name, api.DidYouMean(name, names), strings.Join(names, ", "))
	}
	e.field = e.root
	if rest == "" {
		return &e, nil
	}
	for step := range strings.SplitSeq(rest, ".") {
		o := e.object()
		if o == nil {
			return nil, usageError("%s.%s has no fields: it is %s", e.kind.Kind, e.path, e.typeOf(e.field))
		}
		if e.field = o.Properties.Find(step); e.field == nil {
			names = nil
			for _, p := range o.Properties {
				names = append(names, p.Name)
			}
			return nil, usageError("%s has no field %q%s (known: %s)", strings.TrimSuffix(e.kind.Kind+"."+e.path, "."), step, api.DidYouMean(step, names), strings.Join(names, ", "))
		}
		e.path = strings.TrimPrefix(e.path+"."+step, ".")
	}
	return &e, nil
}

// named is the definition that a schema refers to, or the schema itself.
func (e *explained) named(s *api.Schema) *api.Schema {
	if name, ok := strings.CutPrefix(s.Ref, "#/$defs/"); ok {
		return e.root.Defs[name]
	}
	return s
}

// object is the schema with the fields of the field: its own, or those of its
// items, values or longer form. It is nil when there are none.
func (e *explained) object() *api.Schema {
	s := e.field
	for {
		s = e.named(s)
		switch {
		case s.Items != nil:
			s = s.Items
		case s.Values != nil:
			s = s.Values
		case len(s.AnyOf) > 0:
			s = s.AnyOf[len(s.AnyOf)-1]
		case s.Closed:
			return s
		default:
			return nil
		}
	}
}

// typeOf is the type of a field in a word or two.
func (e *explained) typeOf(s *api.Schema) string {
	s = e.named(s)
	switch {
	case s.Title != "":
		return s.Title
	case s.Items != nil:
		return "[]" + e.typeOf(s.Items)
	case s.Values != nil:
		return "map[string]" + e.typeOf(s.Values)
	case s.Type == "object":
		return "map[string]any"
	case len(s.AnyOf) > 0 && len(s.AnyOf[0].Enum) == 0:
		return e.typeOf(s.AnyOf[0]) + "|" + e.typeOf(s.AnyOf[1])
	case len(s.AnyOf) > 0:
		return e.typeOf(s.AnyOf[0])
	case s.Type == "":
		return "any"
	}
	return s.Type
}

func (e *explained) text(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "KIND:\t%s\nVERSION:\t%s\n", e.kind.Kind, e.kind.APIVersion)
	if e.path != "" {
		fmt.Fprintf(t, "FIELD:\t%s\nTYPE:\t%s\n", e.path, e.typeOf(e.field))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	o := e.object()
	about := []string{e.field.Description}
	if o != nil && o != e.field {
		about = append(about, o.Description)
	}
	if words := enumOf(e.field); len(words) > 0 {
		about = append(about, "One of "+strings.Join(words, ", ")+".")
	}
	fmt.Fprintln(w, "\nDESCRIPTION:")
	for _, text := range about {
		if text != "" {
			fmt.Fprintln(w, wrap(text, "  ", 80))
		}
	}
	if o == nil || len(o.Properties) == 0 {
		return nil
	}
	fmt.Fprintln(w, "\nFIELDS:")
	t = tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, p := range o.Properties {
		typ := e.typeOf(p.Schema)
		if slices.Contains(o.Required, p.Name) {
			typ += ", required"
		}
		fmt.Fprintf(t, "  %s\t%s\t%s\n", p.Name, typ, firstSentence(p.Schema.Description))
	}
	return t.Flush()
}

// enumOf are the words that a text has to be one of, nil when it needn't be.
func enumOf(s *api.Schema) []string {
	if len(s.AnyOf) > 0 {
		return s.AnyOf[0].Enum
	}
	return s.Enum
}

// firstSentence is the beginning of a text, as far as the first full stop.
func firstSentence(text string) string {
	first, _, _ := strings.Cut(text, ". ")
	return strings.TrimSuffix(first, ".")
}

// wrap breaks a text into lines that begin with indent and are up to width
// characters long where words allow it.
func wrap(text, indent string, width int) string {
	var b strings.Builder
	used := 0
	for word := range strings.FieldsSeq(text) {
		n := len([]rune(word))
		switch {
		case used == 0:
			b.WriteString(indent)
			used = len(indent)
		case used+1+n > width:
			b.WriteString("\n" + indent)
			used = len(indent)
		default:
			b.WriteByte(' ')
			used++
		}
		b.WriteString(word)
		used += n
	}
	return b.String()
}

// json prints the schema of the kind, or of the field.
func (e *explained) json(w io.Writer) error {
	s := *e.field
	s.Dialect, s.Defs = e.root.Dialect, e.root.Defs
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(&s)
}
