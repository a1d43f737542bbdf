package repository

import (
	"github.com/go-git/go-git/v5/plumbing/transport"
	githttp "github.com/go-git/go-git/v5/plumbing/transport/http"
)

// Credential is what a secret holds for a git server. It is never part of an
// error, a lock or anything else that is written.
type Credential struct {
	// Username and Password are for basic authentication; with Token as the
	// password servers take any user name.
	Username, Password string
	// Token is a bearer token; set instead of Username and Password.
	Token string
}

func (c *Credential) method() transport.AuthMethod {
	if c.Token != "" {
		return &githttp.TokenAuth{Token: c.Token}
	}
	return &githttp.BasicAuth{Username: c.Username, Password: c.Password}
}
