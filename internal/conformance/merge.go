//go:build unix

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strconv"
	"strings"
)

// betterMerges are the cases in which a merge differs from kpt's on purpose,
// and why.
var betterMerges = map[string]string{
	"copy-merge/TestCopyMergeErrorCopyingFile":                                              "a package has no empty directories, so upstream's file meets nothing in its way",
	"kptfile/TestUpdateKptfile-additional_readinessGate_and_condition_added_in_upstream":    "status says what happened to upstream's copy, so its conditions don't come along",
	"kptfile/TestUpdateKptfile-readinessGates_removed_and_added_in_both_upstream_and_local": "status says what happened to upstream's copy, so its conditions don't come along, and local's stay",
	"kyaml-merge3/element-04-Update-a-field-on-the-elem-element-missing-from-the-dest":      "a container that was deleted locally doesn't come back as one field without an image",
}

// mergeCase is a merge that kpt did: a directory with base, local, upstream and
// what kpt made of them.
type mergeCase struct {
	Strategy string // of the four, or the part of kpt that did it
	Dir      string
	Kind     string // dir, or file: one on each side
	Error    string // kpt's, where it refused
	Options  struct{ IsRoot, UpdateUpstream bool }
}

// runMerges runs the merges in the folder cases, as index.json lists them, and
// returns how many don't hold: another file than kpt has, or one with other
// values or comments. Of Kptfiles, in which kpt loses comments, values count.
func runMerges(cases, stoop, work string) (bad int, err error) {
	text, err := os.ReadFile(filepath.Join(cases, "index.json"))
	if err != nil {
		return 0, err
	}
	var index struct{ Cases []mergeCase }
	if err := json.Unmarshal(text, &index); err != nil {
		return 0, err
	}
	m := &merges{cases: cases, stoop: stoop, work: work, gets: map[string]string{}}
	if err := m.publish(index.Cases); err != nil {
		return 0, err
	}
	held, differ := 0, 0
	for i, c := range index.Cases {
		err := m.check(c, filepath.Join(work, strconv.Itoa(i)))
		why, mustDiffer := betterMerges[c.Dir]
		switch {
		case mustDiffer && err != nil:
			differ++
			fmt.Printf("BETTER %s: %s\n", c.Dir, why)
		case mustDiffer:
			bad++
			fmt.Printf("FAIL   %s: does as kpt does, and should do better\n", c.Dir)
		case err != nil:
			bad++
			fmt.Printf("FAIL   %s: %v\n", c.Dir, err)
		default:
			held++
		}
	}
	fmt.Printf("merge: %d of %d hold, %d better\n", held, len(index.Cases), differ)
	return bad, nil
}

// merges is what the cases have in common.
type merges struct {
	cases, stoop, work string
	gets               map[string]string // case: locator of its package, for stoop get
}

// addMergeKeys is the part of kpt that adds merge keys to a package; stoop get
// does that.
const addMergeKeys = "add-merge-comment"

// publish puts the packages that keys are to be added to into a git repository.
func (m *merges) publish(cases []mergeCase) error {
	repo := filepath.Join(m.work, "repo")
	for i, c := range cases {
		if c.Strategy != addMergeKeys {
			continue
		}
		files, err := readFiles(filepath.Join(m.cases, c.Dir, "local"))
		if err != nil {
			return err
		}
		if files["Kptfile"] == nil {
			files["Kptfile"] = []byte("apiVersion: kpt.dev/v1\nkind: Kptfile\nmetadata:\n  name: case\n")
		}
		name := strconv.Itoa(i)
		if err := writeFiles(filepath.Join(repo, name), files); err != nil {
			return err
		}
		m.gets[c.Dir] = repo + "/" + name + "@main"
	}
	if len(m.gets) == 0 {
		return nil
	}
	for _, args := range [][]string{
		{"init", "-q", "-b", "main", "."}, {"add", "-f", "."},
		{"-c", "user.name=conformance", "-c", "user.email=conformance@example.com", "-c", "commit.gpgsign=false", "commit", "-q", "-m", "cases"},
	} {
		git := exec.Command("git", args...)
		git.Dir = repo
		if out, err := git.CombinedOutput(); err != nil {
			return fmt.Errorf("git %s: %w\n%s", args[0], err, out)
		}
	}
	return nil
}

// check runs a case in the directory work and says how it differs from kpt.
func (m *merges) check(c mergeCase, work string) error {
	dir, out := filepath.Join(m.cases, c.Dir), filepath.Join(work, "out")
	files, err := readFiles(filepath.Join(dir, "expected"))
	if err != nil {
		return err
	}
	want := []map[string][]byte{files}
	if c.Strategy == addMergeKeys {
		if err := m.run("get", m.gets[c.Dir], out); err != nil {
			return err
		}
		notRoot := func(p string) bool { return p != "Kptfile" } // get writes that
		return differ(out, want, notRoot)
	}
	judged := func(string) bool { return true }
	args := []string{"merge", "--on-conflict", "upstream", "-o", out, "--strategy"}
	sides := dir
	switch {
	case c.Kind == "file":
		sides = work
		if want, err = asPackages(dir, work); err != nil {
			return err
		}
		args = append(args, "resource-merge", "--root")
	case strings.HasPrefix(c.Strategy, "kptfile"):
		// kpt merged this file alone
		sides = work
		for _, side := range []string{"base", "local", "upstream"} {
			text, err := os.ReadFile(filepath.Join(dir, side, "Kptfile"))
			if err == nil {
				err = writeFiles(filepath.Join(work, side), map[string][]byte{"Kptfile": text})
			}
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
		judged = func(p string) bool { return p == "Kptfile" }
		if c.Options.UpdateUpstream {
			args = append(args, "copy-merge")
		} else {
			args = append(args, "resource-merge", "--root")
		}
	case c.Strategy == "non-krm-files":
		judged = func(p string) bool { return path.Ext(p) != ".yaml" }
		args = append(args, "resource-merge", "--root")
	default:
		if args = append(args, c.Strategy); c.Options.IsRoot {
			args = append(args, "--root")
		}
	}
	for _, side := range []string{"base", "local", "upstream"} {
		args = append(args, filepath.Join(sides, side))
	}
	err = m.run(args...)
	switch {
	case c.Error != "" && err == nil:
		return fmt.Errorf("merged, want an error like: %s", c.Error)
	case c.Error != "":
		return nil
	case err != nil:
		return err
	}
	return differ(out, want, judged)
}

func (m *merges) run(args ...string) error {
	cmd := exec.Command(m.stoop, args...)
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("stoop %s: %w\n%s", args[0], err, text)
	}
	return nil
}
