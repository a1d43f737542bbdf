package upstream

import (
	"context"
	"errors"

	"github.com/stoop-dev/stoop/orchestration/kptpkg"
	"github.com/stoop-dev/stoop/orchestration/repository"
)

// OCI is the Source of packages in registries: each image is one package.
type OCI struct {
	// Client reads the registries, and holds what may be read.
	Client *repository.OCI
}

// Fetch implements [Source].
func (s OCI) Fetch(ctx context.Context, u Ref) (kptpkg.Tree, Lock, error) {
	if u.Type != TypeOCI || u.OCI == nil {
		return kptpkg.Tree{}, Lock{}, errors.New("upstream of type oci: oci is not set: name its image")
	}
	tree, lock, err := s.Client.Fetch(ctx, *u.OCI)
	if err != nil {
		return kptpkg.Tree{}, Lock{}, err
	}
	return tree, Lock{Type: TypeOCI, OCI: &lock}, nil
}

// Check implements [Checker].
func (s OCI) Check(u Ref) error {
	if u.OCI == nil {
		return nil
	}
	return s.Client.Access.CheckImage(u.OCI.Image)
}
