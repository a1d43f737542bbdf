package runtime

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/Masterminds/semver/v3"
	"github.com/stoop-dev/stoop/fn"
)

// DefaultPrefix is put before image names without a slash, as kpt does.
const DefaultPrefix = "ghcr.io/kptdev/krm-functions-catalog/"

// PullPolicy says when an image is fetched, in kpt's words.
type PullPolicy string

// The pull policies.
const (
	PullAlways       PullPolicy = "Always"
	PullIfNotPresent PullPolicy = "IfNotPresent"
	PullNever        PullPolicy = "Never"
)

// Container runs the functions that a pipeline names by `image:` in containers.
// Its zero value allows none.
//
// A container has no network, no capabilities, a read-only root with an empty
// /tmp, an unprivileged user, and nothing of the host's files and environment.
// It is removed with the call.
type Container struct {
	// Allow lists the images that may run. A * stands for any text; a pattern
	// without tag and digest stands for all of an image's. Names without a
	// slash get DefaultPrefix.
	Allow []string
	// AllowAny lets any image run.
	AllowAny bool
	// Engine is docker or a program with the same commands (podman, nerdctl);
	// empty: docker.
	Engine string
	// Pull is the pull policy; empty: IfNotPresent.
	Pull PullPolicy
	// Memory in bytes and CPUs (2 is two full processors) limit each container.
	// Zero is no limit.
	Memory int64
	CPUs   float64
	// Processes limits the processes and threads of each container, by default
	// 1024. Below zero is no limit.
	Processes int
	// Timeout, Grace, Kill and MaxOutput are as for Exec. Pulling counts.
	Timeout   time.Duration
	Grace     time.Duration
	Kill      <-chan struct{}
	MaxOutput int
}

// imageName is what an image may be called. It also keeps names from being read
// as flags.
var imageName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._/:@-]*$`)

// Find implements Runtime. It asks no registry: a version constraint (Ref.Tag)
// chooses among the images that are here, and an image that is missing shows
// when the function runs.
func (c *Container) Find(ctx context.Context, ref Ref) (*Function, error) {
	if ref.Image == "" {
		return nil, fmt.Errorf("container: %w", ErrOtherSort)
	}
	if !imageName.MatchString(ref.Image) {
		return nil, fmt.Errorf("container function %q: not the name of an image", ref.Image)
	}
	switch c.Pull {
	case "", PullAlways, PullIfNotPresent, PullNever:
	default:
		return nil, fmt.Errorf("container function %q: pull policy %q: want Always, IfNotPresent or Never", ref.Image, c.Pull)
	}
	image := withPrefix(ref.Image)
	name, _, _ := splitImage(image)
	if ref.Tag == "" {
		image = CompleteImage(image)
	}
	if !c.allowed(image) {
		return nil, fmt.Errorf("%w in a container: --allow-container=%s or STOOP_ALLOW_CONTAINER=%[2]s would allow it", ErrNotAllowed, image)
	}
	engine, err := exec.LookPath(c.engine())
	if err != nil {
		return nil, fmt.Errorf("no container engine %s for image %s: install it, or name another by --container-runtime: %w", c.engine(), image, err)
	}
	if ref.Tag != "" {
		tag, err := c.chooseTag(ctx, engine, name, ref.Tag)
		if err != nil {
			return nil, fmt.Errorf("container function %q: %w", ref, err)
		}
		if image = name + ":" + tag; !c.allowed(image) {
			return nil, fmt.Errorf("%w in a container: --allow-container=%s or STOOP_ALLOW_CONTAINER=%[2]s would allow it", ErrNotAllowed, image)
		}
	}
	if ref.Limits != (Limits{}) {
		bound := *c
		bound.Memory, bound.CPUs = lower(c.Memory, ref.Limits.Memory), lower(c.CPUs, ref.Limits.CPUs)
		if n := ref.Limits.Processes; n > 0 {
			bound.Processes = lower(orDefault(c.Processes, defaultProcesses), n)
		}
		c = &bound
	}
	f := &Function{Name: image, Run: func(ctx context.Context, call *fn.Call) error {
		return c.run(ctx, call, engine, image)
	}}
	if ref.Limits.CPU != 0 {
		f.Unbound = "a container isn't held to processor time (cpuTime), only to a number of processors (cpu), memory and processes"
	}
	return f, nil
}

func (c *Container) engine() string { return cmp.Or(c.Engine, "docker") }

func withPrefix(image string) string {
	if strings.Contains(image, "/") {
		return image
	}
	return DefaultPrefix + image
}

// CompleteImage is the name of an image with DefaultPrefix where it has no slash,
// and with the tag latest where it has neither tag nor digest.
func CompleteImage(image string) string {
	image = withPrefix(image)
	if _, tag, digest := splitImage(image); tag == "" && digest == "" {
		image += ":latest"
	}
	return image
}

// splitImage cuts a reference into name, tag and digest.
func splitImage(image string) (name, tag, digest string) {
	name, digest, _ = strings.Cut(image, "@")
	if i := strings.LastIndexByte(name, ':'); i > strings.LastIndexByte(name, '/') {
		name, tag = name[:i], name[i+1:]
	}
	return name, tag, digest
}

// allowed reports whether a pattern of the operator's covers the image.
func (c *Container) allowed(image string) bool {
	if c.AllowAny {
		return true
	}
	name, _, _ := splitImage(image)
	for _, pattern := range c.Allow {
		pattern = withPrefix(pattern)
		if glob(pattern, image) {
			return true
		}
		if _, tag, digest := splitImage(pattern); tag == "" && digest == "" && glob(pattern, name) {
			return true
		}
	}
	return false
}

// glob matches s against a pattern in which * stands for any text.
func glob(pattern, s string) bool {
	parts := strings.Split(pattern, "*")
	if len(parts) == 1 {
		return pattern == s
	}
	s, ok := strings.CutPrefix(s, parts[0])
	if !ok {
		return false
	}
	for _, p := range parts[1 : len(parts)-1] {
		i := strings.Index(s, p)
		if i < 0 {
			return false
		}
		s = s[i+len(p):]
	}
	return strings.HasSuffix(s, parts[len(parts)-1])
}

// chooseTag turns a step's tag into that of an image: the highest of the local
// ones that meets a version constraint. A tag that is no constraint, or one
// version, is meant as it stands.
func (c *Container) chooseTag(ctx context.Context, engine, name, want string) (string, error) {
	if isVersion(want) {
		return want, nil
	}
	constraint, err := semver.NewConstraint(want)
	if err != nil {
		if !imageName.MatchString(want) {
			return "", fmt.Errorf("tag %q is neither a tag nor a version constraint", want)
		}
		return want, nil
	}
	list := exec.CommandContext(ctx, engine, "image", "ls", "--filter", "reference="+name, "--format", "{{.Tag}}")
	out, err := list.Output()
	if err != nil {
		return "", fmt.Errorf("listing local images: %w", withStderr(err))
	}
	var best *semver.Version
	for tag := range strings.FieldsSeq(string(out)) {
		v, err := semver.NewVersion(tag)
		if err == nil && constraint.Check(v) && (best == nil || v.GreaterThan(best)) {
			best = v
		}
	}
	if best == nil {
		return "", fmt.Errorf("no local image of %s meets tag %q; pull one, or name an exact tag", name, want)
	}
	return best.Original(), nil
}

// isVersion says whether a tag is one whole version rather than a range.
func isVersion(tag string) bool {
	_, err := semver.StrictNewVersion(strings.TrimPrefix(tag, "v"))
	return err == nil
}

func withStderr(err error) error {
	var exit *exec.ExitError
	if errors.As(err, &exit) && len(exit.Stderr) > 0 {
		return fmt.Errorf("%w%s", err, saying(string(exit.Stderr)))
	}
	return err
}

// args is the command line that runs an image as container name.
func (c *Container) args(image, name string) []string {
	pull := map[PullPolicy]string{PullAlways: "always", PullNever: "never"}[c.Pull]
	args := []string{
		"run", "--rm", "-i", "--name", name,
		"--pull", cmp.Or(pull, "missing"),
		"--network", "none",
		"--read-only", "--tmpfs", "/tmp",
		"--user", "65534:65534",
		"--cap-drop", "ALL",
		"--security-opt", "no-new-privileges",
		// as kpt passes them; its SDK reads both
		"-e", "LOG_TO_STDERR=true", "-e", "STRUCTURED_RESULTS=true",
	}
	if c.Memory > 0 {
		args = append(args, "--memory", strconv.FormatInt(c.Memory, 10))
	}
	if c.CPUs > 0 {
		args = append(args, "--cpus", strconv.FormatFloat(c.CPUs, 'f', -1, 64))
	}
	if n := orDefault(c.Processes, defaultProcesses); n > 0 {
		args = append(args, "--pids-limit", strconv.Itoa(n))
	}
	return append(args, image)
}

func (c *Container) run(ctx context.Context, call *fn.Call, engine, image string) error {
	in, err := fn.EncodeCall(call)
	if err != nil {
		return fmt.Errorf("function %q: %w", image, err)
	}
	name := "stoop-" + strings.ToLower(rand.Text())
	p := process{
		path: engine, args: append([]string{engine}, c.args(image, name)...), env: os.Environ(),
		timeout: c.Timeout, grace: c.Grace, kill: c.Kill, maxOutput: c.MaxOutput,
	}
	out, err := p.run(ctx, in)
	// as kpt shows it: docker's last line feed isn't the function's
	out.stderr = strings.TrimSuffix(withoutPulling(out.stderr), "\n")
	if err != nil {
		call.Stderr = out.stderr
		c.remove(ctx, engine, name)
		return fmt.Errorf("function %q: %w%s", image, err, saying(out.stderr))
	}
	err = out.take(call, image)
	var exit *ExitError
	if errors.As(err, &exit) {
		exit.Hint = c.hint(exit, image)
	}
	return err
}

// pulling are what engines say on standard error while they fetch an image.
var pulling = regexp.MustCompile(`^Unable to find image |: (Already exists|Pulling fs layer|Pulling from .*|Waiting|Verifying Checksum|Download complete|Pull complete)$|^Digest: sha256|^Status: Downloaded newer image `)

// withoutPulling is the standard error of a function without what the engine
// said there of its own work.
func withoutPulling(stderr string) string {
	if !strings.Contains(stderr, ": ") && !strings.HasPrefix(stderr, "Unable") {
		return stderr
	}
	var b strings.Builder
	for line := range strings.Lines(stderr) {
		if !pulling.MatchString(strings.TrimSuffix(line, "\n")) {
			b.WriteString(line)
		}
	}
	return b.String()
}

// remove ends and removes a container whose client was ended: the engine runs
// it on otherwise.
func (c *Container) remove(ctx context.Context, engine, name string) {
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), removeTime)
	defer stop()
	_ = exec.CommandContext(ctx, engine, "rm", "-f", name).Run() // it may be gone already
}

// hint explains the exit codes that engines use for themselves. A function may
// use them too; then standard error says what it meant.
func (c *Container) hint(e *ExitError, image string) string {
	contains := func(words ...string) bool {
		return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(strings.ToLower(e.Stderr), w) })
	}
	switch {
	case e.ExitCode == 125 && contains("no such image", "unable to find image", "denied", "not found", "manifest unknown", "/v2/", "no such host", "i/o timeout"):
		return fmt.Sprintf("image %s can't be had with pull policy %s", image, cmp.Or(c.Pull, PullIfNotPresent))
	case e.ExitCode == 125 && contains("cannot connect", "is the docker daemon running"):
		return "the container engine doesn't run"
	case e.ExitCode == 125:
		return "the container engine refused to run it"
	case e.ExitCode == 126:
		return "the image's entrypoint can't be executed"
	case e.ExitCode == 127:
		return "the image's entrypoint doesn't exist"
	}
	return killed(e.ExitCode)
}
