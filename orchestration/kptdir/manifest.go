package kptdir

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path"
	"strconv"
	"strings"

	"github.com/stoop-dev/stoop/orchestration/kptpkg"
)

// A manifest is what a write does to a directory. Once it lies in the staging
// directory the write is decided.
type manifest struct {
	Version int `json:"version"` // 1
	// Put are the files to rename from the staging directory to their paths;
	// the staged name is the index. No path is below another of the list.
	Put []change `json:"put"`
	// Remove are the files to remove, before anything is put.
	Remove []change `json:"remove"`
}

// A change is one path of a manifest.
type change struct {
	Path string `json:"path"`
	Old  sum    `json:"old,omitempty"` // what is there before, none where nothing is
	New  sum    `json:"new,omitempty"` // what is there afterwards
}

// A sum stands for the content and mode of a file: git's mode, a space and the
// SHA-256 in hexadecimal.
type sum string

// none is the sum of a file that doesn't exist.
const none sum = ""

// gitModes are the modes of files in git's notation.
var gitModes = [...]string{kptpkg.Regular: "100644", kptpkg.Executable: "100755", kptpkg.Symlink: "120000"}

func sumOf(mode kptpkg.Mode, content []byte) sum {
	return sum(fmt.Sprintf("%s %x", gitModes[mode], sha256.Sum256(content)))
}

// sum is the sum of the file name on disk, which info describes.
func (d *disk) sum(name string, info os.FileInfo) (sum, error) {
	mode := modeOf(info.Mode())
	if mode == kptpkg.Symlink {
		target, err := d.root.Readlink(name)
		return sumOf(mode, []byte(target)), err
	}
	f, err := d.root.OpenFile(name, os.O_RDONLY|openNonblock, 0)
	if err != nil {
		return none, err
	}
	defer f.Close()
	h := sha256.New()
	// most files are far smaller than the buffer that io.Copy would make for each
	buf := make([]byte, min(max(info.Size(), 0)+1, 32<<10))
	if _, err := io.CopyBuffer(h, struct{ io.Reader }{f}, buf); err != nil {
		return none, err
	}
	return sum(fmt.Sprintf("%s %x", gitModes[mode], h.Sum(nil))), nil
}

// maxManifest bounds the manifest in bytes: enough for a million short paths.
const maxManifest = 256 << 20

func (m *manifest) encode() ([]byte, error) {
	b, err := json.Marshal(m)
	if err == nil && len(b) > maxManifest {
		err = fmt.Errorf("%d changes at once are too many", len(m.Put)+len(m.Remove))
	}
	return b, err
}

// decodeManifest reads a manifest that anybody may have put there.
func decodeManifest(r io.Reader) (*manifest, error) {
	m := new(manifest)
	dec := json.NewDecoder(io.LimitReader(r, maxManifest+1))
	dec.DisallowUnknownFields()
	if err := dec.Decode(m); err != nil {
		return nil, err
	}
	if m.Version != 1 {
		return nil, fmt.Errorf("version %d is not known to this stoop", m.Version)
	}
	return m, m.validate()
}

// validate refuses paths that no write may touch or that contradict each other.
func (m *manifest) validate() error {
	put, removed := map[string]bool{}, map[string]bool{}
	for _, c := range m.Put {
		if put[c.Path] {
			return refuse(c.Path, "written twice")
		}
		put[c.Path] = true
	}
	for _, c := range m.Remove {
		if removed[c.Path] || put[c.Path] {
			return refuse(c.Path, "removed twice, or written as well")
		}
		removed[c.Path] = true
	}
	for _, list := range [][]change{m.Put, m.Remove} {
		for _, c := range list {
			if err := checkName(c.Path); err != nil {
				return err
			}
		}
	}
	for _, c := range m.Put {
		for dir := range parents(c.Path) {
			if put[dir] {
				return refuse(c.Path, "both %s and a file below it would be written", dir)
			}
		}
	}
	return nil
}

// checkName refuses a path that can't be written on this system, or mustn't.
func checkName(p string) error {
	if err := kptpkg.CheckPath(p); err != nil {
		return err
	}
	if strings.Count(p, "/") > maxDepth {
		return refuse(p, "more than %d directories deep", maxDepth)
	}
	if strings.ToValidUTF8(p, "") != p {
		return refuse(p, "the path is not UTF-8: rename the file")
	}
	for segment := range strings.SplitSeq(p, "/") {
		why := nativeName(segment)
		switch {
		case reserved(segment):
			why = "is reserved for stoop's own files"
		case len(segment) > 255:
			why = "is longer than 255 bytes"
		}
		if why != "" {
			return refuse(p, "the name %q %s: rename it", segment, why)
		}
	}
	return nil
}

// checkLink refuses a symlink at p that would lead out of the directory, now or
// by way of other links. Directories on the way to p are real ones, so ".." at
// the front of the target can be counted; after a name it could follow a link.
func checkLink(p, target string) error {
	const keep = "links stay inside the package, with a relative target"
	if target == "" || strings.HasPrefix(target, "/") {
		return refuse(p, "the link's target %q is empty or absolute: %s", target, keep)
	}
	down := false
	for segment := range strings.SplitSeq(target, "/") {
		switch segment {
		case "", ".":
		case "..":
			if down {
				return refuse(p, "the link's target %q has .. after a name: write %s", target, path.Clean(target))
			}
		default:
			down = true
		}
	}
	to := path.Join(path.Dir(p), target)
	if to == "." {
		return nil
	}
	if err := kptpkg.CheckPath(to); err != nil {
		return refuse(p, "the link's target %q: %w", target, err)
	}
	return nil
}

// parents yields the directories above p, the nearest to the root first,
// without the root itself.
func parents(p string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for i := range len(p) {
			if p[i] == '/' && !yield(p[:i]) {
				return
			}
		}
	}
}

// staged is where the file for Put[i] waits.
func staged(i int) string { return stageName + "/" + strconv.Itoa(i) }
