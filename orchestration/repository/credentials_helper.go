package repository

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing/transport"
	githttp "github.com/go-git/go-git/v5/plumbing/transport/http"
)

// helperTimeout ends a credential helper that waits for somebody.
const helperTimeout = 30 * time.Second

// askHelpers asks the user's git credential helpers for a user and password. It
// returns nil when they know none; they are never let ask anybody.
func askHelpers(ctx context.Context, loc location) transport.AuthMethod {
	ctx, cancel := context.WithTimeout(ctx, helperTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "git", "-c", "credential.interactive=false", "credential", "fill")
	// The settings of a repository that happens to be around could name any
	// program as a helper.
	cmd.Dir = filepath.VolumeName(os.TempDir()) + string(filepath.Separator)
	for _, v := range os.Environ() {
		switch name, _, _ := strings.Cut(v, "="); name {
		case "GIT_DIR", "GIT_COMMON_DIR", "GIT_WORK_TREE", "GIT_ASKPASS", "SSH_ASKPASS", "GIT_TERMINAL_PROMPT", "GCM_INTERACTIVE":
		default:
			cmd.Env = append(cmd.Env, v)
		}
	}
	cmd.Env = append(cmd.Env, "GIT_TERMINAL_PROMPT=0", "GIT_ASKPASS=", "GCM_INTERACTIVE=never")
	host := loc.host
	if loc.port != defaultPorts[loc.scheme] {
		host = net.JoinHostPort(loc.host, loc.port)
	}
	cmd.Stdin = strings.NewReader(fmt.Sprintf("protocol=%s\nhost=%s\npath=%s\n\n", loc.scheme, host, strings.TrimPrefix(loc.endpoint.Path, "/")))
	cmd.WaitDelay = time.Second
	out, err := cmd.Output()
	if err != nil {
		return nil // it knows none, or is missing: the server's own refusal says more
	}
	var auth githttp.BasicAuth
	for line := range bytes.Lines(out) {
		key, value, _ := strings.Cut(strings.TrimRight(string(line), "\r\n"), "=")
		switch key {
		case "username":
			auth.Username = value
		case "password":
			auth.Password = value
		}
	}
	if auth.Password == "" {
		return nil
	}
	return &auth
}
