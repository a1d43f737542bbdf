package upstream

import (
	"context"
	"errors"

	"github.com/stoop-dev/stoop/orchestration/kptpkg"
	"github.com/stoop-dev/stoop/orchestration/repository"
)

// Git is the Source of packages in git repositories.
type Git struct {
	// Client reads the repositories, and holds what may be read.
	Client *repository.Git
}

// Fetch implements [Source].
func (s Git) Fetch(ctx context.Context, u Ref) (kptpkg.Tree, Lock, error) {
	if u.Type != TypeGit || u.Git == nil {
		return kptpkg.Tree{}, Lock{}, errors.New("upstream of type git: git is not set: name its repo, ref and directory")
	}
	tree, lock, err := s.Client.Fetch(ctx, *u.Git)
	if err != nil {
		return kptpkg.Tree{}, Lock{}, err
	}
	return tree, Lock{Type: TypeGit, Git: &lock}, nil
}

// Check implements [Checker].
func (s Git) Check(u Ref) error {
	if u.Git == nil {
		return nil
	}
	return s.Client.Access.Check(u.Git.Repo)
}
