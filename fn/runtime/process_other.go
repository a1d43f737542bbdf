//go:build !unix

package runtime

import (
	"os"
	"os/exec"
)

// ownGroup does nothing: there are no process groups here, so that only the
// process itself is ended and what it started may outlive it.
func ownGroup(*exec.Cmd) {}

func endGroup(cmd *exec.Cmd) error { return cmd.Process.Kill() }

func killGroup(cmd *exec.Cmd) { _ = cmd.Process.Kill() }

func exitCode(s *os.ProcessState) int { return s.ExitCode() }
