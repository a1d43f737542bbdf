package cli

import (
	"context"

	"github.com/spf13/pflag"
	"github.com/stoop-dev/stoop/orchestration"
	"github.com/stoop-dev/stoop/orchestration/repository"
)

// publishFlag lets results go into repositories.
func publishFlag(fs *pflag.FlagSet, to *bool, getenv func(string) string) {
	fs.BoolVar(to, "publish", isTrue(getenv("STOOP_PUBLISH")), "close package revisions into the repositories that their objects name, as draft, proposed or published revisions (environment: STOOP_PUBLISH)")
	fs.Lookup("publish").DefValue = "false"
}

// publisher writes to the repositories that the operator allows; done lets go of
// them.
func (a *app) publisher(ctx context.Context) (p *orchestration.Publisher, done func() error, err error) {
	who, err := a.author(ctx, "")
	if err != nil {
		return nil, nil, err
	}
	opener := a.opener(a.git(repository.Access{}, false))
	return &orchestration.Publisher{Opener: opener, Author: who}, opener.Close, nil
}
