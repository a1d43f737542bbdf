package runtime

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// Only is a Runtime that finds no functions but those an operator has listed.
type Only struct {
	// Runtime finds them.
	Runtime Runtime
	// Functions are patterns of images and executables; a * stands for any text.
	// A pattern without tag and digest stands for all of an image's, one without
	// a slash also for the image with DefaultPrefix, and the other way round.
	// Empty: every function.
	Functions []string
	// By says whose list it is, for the refusal.
	By string
}

// Find implements Runtime. The error wraps ErrNotAllowed for a function that
// isn't listed.
func (o Only) Find(ctx context.Context, ref Ref) (*Function, error) {
	listed := func(p string) bool { return covers(p, ref.Image) || covers(withPrefix(p), withPrefix(ref.Image)) }
	if ref.Exec != "" {
		name, _, _ := strings.Cut(strings.TrimSpace(ref.Exec), " ")
		listed = func(p string) bool { return covers(p, name) }
	}
	if len(o.Functions) > 0 && !slices.ContainsFunc(o.Functions, listed) {
		return nil, fmt.Errorf("function %q: %w by %s: add it to the functions there", ref, ErrNotAllowed, o.By)
	}
	return o.Runtime.Find(ctx, ref)
}

// covers says whether a pattern stands for an image or executable. One without
// tag and digest stands for all of the image's.
func covers(pattern, image string) bool {
	if glob(pattern, image) {
		return true
	}
	name, _, _ := splitImage(image)
	_, tag, digest := splitImage(pattern)
	return tag == "" && digest == "" && glob(pattern, name)
}
