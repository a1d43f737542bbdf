package upstream_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stoop-dev/stoop/orchestration/repository"
	"github.com/stoop-dev/stoop/orchestration/repository/repositorytest"
	"github.com/stoop-dev/stoop/orchestration/upstream"
)

var _ upstream.Credentials = (*repository.CredentialsDir)(nil)

func TestRegistered(t *testing.T) {
	t.Parallel()
	r := repositorytest.New(t)
	pkg := func(dir, says string) repositorytest.Entry {
		return repositorytest.Entry{Path: dir + "/Kptfile", Content: says}
	}
	first := r.Git("commit-tree", "-m", "Approving\n\nkpt:{\"package\":\"web\",\"workspaceName\":\"start\"}", r.Tree(pkg("deploy/web", "one")))
	r.Git("tag", "deploy/web/v1", first)
	r.Git("update-ref", "refs/heads/main", first)
	r.Commit("main", pkg("deploy/web", "two"), pkg("deploy/loose", "x"))
	r.Git("tag", "deploy/web/v2", "main")
	r.Git("update-ref", "refs/heads/drafts/deploy/web/try", "main")
	r.Git("update-ref", "refs/heads/proposed/deploy/loose/soon", "main")

	client := &repository.Git{Access: repository.Access{FileRepos: []string{r.Dir}}}
	registered := upstream.Registered{Client: client, Repositories: []upstream.Repository{
		{Name: "blueprints", Repo: r.Dir, Directory: "/deploy"},
		{Name: "edge", Namespace: "a", Repo: r.Dir, Directory: "deploy"},
		{Name: "edge", Namespace: "b", Repo: r.Dir, Directory: "deploy"},
		{Name: "secret", Namespace: "a", Repo: r.Dir, Secret: "none"},
		{Name: "typo", Repo: r.Dir + "x"},
	}}
	for name, want := range map[string]string{"blueprints.web.start": "deploy/web/v1", "blueprints.web.v2": "deploy/web/v2", "edge.web.v2": "deploy/web/v2"} {
		ref, err := registered.Reference(t.Context(), "a", name)
		require.NoError(t, err)
		assert.Equal(t, upstream.Ref{Type: upstream.TypeGit, Git: &upstream.GitRef{Repo: r.Dir, Ref: want, Directory: "deploy/web"}}, ref)
		tree, lock, err := upstream.Git{Client: client}.Fetch(t.Context(), ref)
		require.NoError(t, err)
		assert.Equal(t, 1, tree.Len())
		assert.Equal(t, "deploy/web", lock.Git.Directory)
	}
	at := "repository " + r.Dir + ": "
	for _, tc := range []struct {
		namespace, name, want string
		notFound              bool
	}{
		{"", "blueprints.wbe.v2", `registered repository blueprints: ` + at + `package revision "blueprints.wbe.v2" not found: there is blueprints.web.v2, blueprints.web.try, blueprints.web.main, blueprints.web.start, blueprints.loose.main`, true},
		{"", "other.web.v2", `"other.web.v2" not found: its name says that it is in the repository other, and declared are blueprints, edge, secret, typo`, true},
		{"c", "edge.web.v2", `"edge.web.v2" not found: its name says that it is in the repository edge, and declared are blueprints, typo`, true},
		{"", "edge.web.v2", `"edge.web.v2" is ambiguous: 2 repositories edge are declared, in several namespaces; set metadata.namespace`, false},
		{"", "blueprints.web.main", `registered repository blueprints: "blueprints.web.main" is a placeholder, the package as it is on the branch main, and no revision: name blueprints.web.v2`, false},
		{"", "blueprints.web.try", `registered repository blueprints: "blueprints.web.try" is a Draft, and only published revisions can be used: publish it, or name blueprints.web.v2`, false},
		{"", "blueprints.loose.soon", `registered repository blueprints: "blueprints.loose.soon" is a Proposed, and only published revisions can be used: publish it, or name another, as none of this package is published`, false},
		{"", "secret.web.v1", `registered repository secret: secret "none": no credentials are allowed; allow them with --credentials-dir=DIR or STOOP_CREDENTIALS_DIR=DIR`, false},
	} {
		_, err := registered.Reference(t.Context(), tc.namespace, tc.name)
		require.Error(t, err, tc.name)
		assert.Equal(t, tc.want, err.Error())
		if tc.notFound {
			require.ErrorIs(t, err, upstream.ErrNotFound)
		}
	}
	_, err := upstream.Registered{Client: client}.Reference(t.Context(), "", "blueprints.web.v1")
	require.ErrorContains(t, err, "no Repository is declared")
	_, err = registered.Reference(t.Context(), "", "typo.web.v1")
	require.ErrorContains(t, err, "is not allowed")
}

// A repository's secret is resolved in its own namespace, and goes with the ref.
func TestRegisteredWithSecret(t *testing.T) {
	t.Parallel()
	private, public := repositorytest.Key(1)
	r := repositorytest.New(t)
	r.Commit("main", repositorytest.Entry{Path: "web/Kptfile", Content: "x"})
	r.Git("tag", "web/v1", "main")
	url, known := r.ServeSSH(public, nil)
	dir := t.TempDir()
	for name, content := range map[string]string{"ssh-privatekey": string(private), "known_hosts": known} {
		name = filepath.Join(dir, "own", "git", name)
		require.NoError(t, os.MkdirAll(filepath.Dir(name), 0o700))
		require.NoError(t, os.WriteFile(name, []byte(content), 0o600))
	}
	client := &repository.Git{Access: repository.Access{Network: []string{"127.0.0.1"}}}
	registered := upstream.Registered{
		Client: client, Credentials: &repository.CredentialsDir{Dir: dir},
		Repositories: []upstream.Repository{{Namespace: "own", Name: "r", Repo: url, Secret: "git"}},
	}
	ref, err := registered.Reference(t.Context(), "", "r.web.v1")
	require.NoError(t, err)
	tree, _, err := upstream.Git{Client: client}.Fetch(t.Context(), ref)
	require.NoError(t, err)
	assert.Equal(t, 1, tree.Len())
}
