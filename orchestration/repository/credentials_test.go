package repository_test

import (
	"bytes"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"github.com/stoop-dev/stoop/orchestration/api"
	"github.com/stoop-dev/stoop/orchestration/repository"
	"github.com/stoop-dev/stoop/orchestration/repository/repositorytest"
)

const password = "s3cr3t-Passw0rd"

// secrets writes files of a credentials directory.
func secrets(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		name = filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(name), 0o700))
		require.NoError(t, os.WriteFile(name, []byte(content), 0o600))
	}
	return dir
}

func secret(t *testing.T, data map[string]string) *repository.Credential {
	t.Helper()
	raw := map[string][]byte{}
	for key, value := range data {
		raw[key] = []byte(value)
	}
	cred, err := repository.FromSecret(raw)
	require.NoError(t, err)
	return cred
}

// guarded lets in who has the password, by basic authentication or as a token,
// and counts who comes.
func guarded(tries *atomic.Int64) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			tries.Add(1)
			_, given, _ := req.BasicAuth()
			if given != password && req.Header.Get("Authorization") != "Bearer "+password {
				http.Error(w, "you sent "+req.Header.Get("Authorization"), http.StatusUnauthorized)
				return
			}
			next.ServeHTTP(w, req)
		})
	}
}

func TestFromSecretRefuses(t *testing.T) {
	t.Parallel()
	for want, data := range map[string]map[string]string{
		"it has none of username, password, bearerToken": {"known_hosts": "x", "namespace": "y"},
		"it has no password":                             {"username": "me"},
		"username has a colon":                           {"username": "me:you", "password": password},
		"password has a control character":               {"username": "me", "password": password + "\nX"},
		"it has username and password and bearerToken":   {"username": "me", "password": password, "token": password},
		"bearerToken and type kpt.dev/workload-identity": {"type": "kpt.dev/workload-identity-auth", "token": password},
	} {
		raw := map[string][]byte{}
		for key, value := range data {
			raw[key] = []byte(value)
		}
		_, err := repository.FromSecret(raw)
		require.ErrorContains(t, err, want)
		assert.NotContains(t, err.Error(), password)
	}
}

func TestCredentialIsNeverPrinted(t *testing.T) {
	t.Parallel()
	cred := secret(t, map[string]string{"username": "me", "password": password, "ssh-privatekey": password, ".dockerconfigjson": password, "ca.crt": password})
	ref := repository.GitRef{Repo: "r", Credential: cred}
	type private struct{ c repository.Credential }
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%p", "%T"} {
		for _, v := range []any{cred, *cred, ref, &ref, []any{cred}, map[string]*repository.Credential{"c": cred}, private{*cred}, &private{*cred}} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
	}
	for _, handler := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
		slog.New(handler).Info("x", "cred", cred, "value", *cred, "ref", ref, "private", private{*cred})
	}
	require.NoError(t, json.NewEncoder(&out).Encode([]any{cred, *cred, ref, private{*cred}}))
	assert.NotContains(t, out.String(), password)
	assert.NotContains(t, strings.ToLower(out.String()), fmt.Sprintf("%x", password))
	assert.Contains(t, out.String(), "REDACTED")
	assert.Equal(t, "REDACTED REDACTED", fmt.Sprint(cred.String(), " ", cred.GoString()))
}

func TestCredentialsDirLayouts(t *testing.T) {
	t.Parallel()
	var tries atomic.Int64
	r := repositorytest.New(t)
	r.Commit("main", kptfile("", "x"))
	url := r.ServeHTTP(nil, guarded(&tries))
	basic := func(at string) map[string]string {
		return map[string]string{at + "/username": "me\n", at + "/password": password + "\n"}
	}
	mount := func(t *testing.T) string { // as the kubelet does it
		dir := secrets(t, basic("..2024_01_02"))
		require.NoError(t, os.MkdirAll(filepath.Join(dir, "ns"), 0o700))
		require.NoError(t, os.Rename(filepath.Join(dir, "..2024_01_02"), filepath.Join(dir, "..v1")))
		require.NoError(t, os.MkdirAll(filepath.Join(dir, "ns", "git"), 0o700))
		require.NoError(t, os.Rename(filepath.Join(dir, "..v1"), filepath.Join(dir, "ns", "git", "..v1")))
		require.NoError(t, os.Symlink("..v1", filepath.Join(dir, "ns", "git", "..data")))
		for _, key := range []string{"username", "password"} {
			require.NoError(t, os.Symlink("..data/"+key, filepath.Join(dir, "ns", "git", key)))
		}
		return dir
	}
	other := map[string]string{"git/username": "other", "git/password": "other", "ns/other/token": "x"}
	merge := func(maps ...map[string]string) map[string]string {
		all := map[string]string{}
		for _, m := range maps {
			for k, v := range m {
				all[k] = v
			}
		}
		return all
	}
	for name, dir := range map[string]string{
		"namespace":                     secrets(t, basic("ns/git")),
		"no namespace":                  secrets(t, basic("git")),
		"mount":                         mount(t),
		"namespace first":               secrets(t, merge(other, basic("ns/git"))),
		"namespace's directory is bare": secrets(t, merge(basic("git"), map[string]string{"ns/git/unknown": "x"})),
		"token":                         secrets(t, map[string]string{"ns/git/token": password}),
		"bearerToken":                   secrets(t, map[string]string{"ns/git/bearerToken": password, "ns/git/token": "other"}),
	} {
		t.Run(name, func(t *testing.T) {
			cred, err := (&repository.CredentialsDir{Dir: dir}).Credential(t.Context(), "ns", "git")
			require.NoError(t, err)
			_, lock, err := newGit(r).Fetch(t.Context(), repository.GitRef{Repo: url, Ref: "main", Credential: cred})
			require.NoError(t, err)
			assert.Equal(t, url, lock.Repo)
		})
	}
}

func TestCredentialsDirHostile(t *testing.T) {
	t.Parallel()
	outside := secrets(t, map[string]string{"stolen/username": "me", "stolen/password": password})
	dir := secrets(t, map[string]string{
		"file": password, "empty/none": "", "big/token": strings.Repeat("x", 1<<20+1), "dir/token/x": "",
		"half/username": "me", "fine/token": "x", "ns/ns-ca-bundle/token": "x",
	})
	for name, target := range map[string]string{
		"away": filepath.Join(outside, "stolen"), "up": "../" + filepath.Base(outside) + "/stolen", "circle": "circle", "nowhere": "gone",
	} {
		require.NoError(t, os.Symlink(target, filepath.Join(dir, name)))
	}
	require.NoError(t, os.Mkdir(filepath.Join(dir, "keyaway"), 0o700))
	require.NoError(t, os.Symlink(filepath.Join(outside, "stolen", "password"), filepath.Join(dir, "keyaway", "token")))
	for _, tc := range []struct{ namespace, name, want string }{
		{"", "file", "file in the credentials directory is a file"},
		{"ns", "missing", "looked for the directory ns/missing, then missing"},
		{"", "missing", "looked for the directory missing"},
		{"", "nowhere", "not found"},
		{"", "empty", "has none of"},
		{"", "big", "too big"},
		{"", "dir", "dir/token in the credentials directory: it is no regular file"},
		{"", "half", "has no password"},
		{"", "away", "escapes"},
		{"", "up", "escapes"},
		{"", "keyaway", "escapes"},
		{"", "circle", "too many"},
		{"", "", "empty"},
		{"", "..", "is no name"}, {"", ".", "is no name"}, {"", "../x", "is no name"}, {"", "/etc", "is no name"}, {"", "a/b", "is no name"},
		{"", `a\b`, "is no name"}, {"", "a\x00", "is no name"}, {"", "A", "is no name"}, {"", "a..b", "is no name"}, {"..", "a", "is no name"},
		{"", strings.Repeat("a", 254), "is no name"},
	} {
		cred, err := (&repository.CredentialsDir{Dir: dir}).Credential(t.Context(), tc.namespace, tc.name)
		require.Error(t, err, tc.name)
		assert.Nil(t, cred)
		assert.Contains(t, err.Error(), tc.want)
		assert.NotContains(t, err.Error(), password)
		assert.Less(t, len(err.Error()), 300)
	}
	_, err := (&repository.CredentialsDir{}).Credential(t.Context(), "", "x")
	assert.ErrorContains(t, err, "--credentials-dir")
	_, err = (&repository.CredentialsDir{Dir: dir + "/gone"}).Credential(t.Context(), "", "x")
	assert.ErrorIs(t, err, fs.ErrNotExist)
}

func TestWrongPassword(t *testing.T) {
	t.Parallel()
	var tries atomic.Int64
	r := repositorytest.New(t)
	r.Commit("main", kptfile("", "x"))
	url := r.ServeHTTP(nil, guarded(&tries))
	for _, data := range []map[string]string{{"username": "me", "password": "wr0ng-one"}, {"token": "wr0ng-one"}} {
		tries.Store(0)
		_, _, err := newGit(r).Fetch(t.Context(), repository.GitRef{Repo: url, Ref: "main", Credential: secret(t, data)})
		require.Error(t, err)
		assert.Equal(t, "repository "+url+": the server refused the credentials (401)", err.Error())
		assert.EqualValues(t, 1, tries.Load(), "not tried again")
	}
	_, _, err := newGit(r).Fetch(t.Context(), repository.GitRef{Repo: url, Ref: "main"})
	assert.EqualError(t, err, "repository "+url+": there is none, or it needs credentials (401): allow --allow-credential-helpers for git, --allow-docker-config for images, or name a secret where there is a secretRef (--credentials-dir)")
	for data, want := range map[*repository.Credential]string{
		secret(t, map[string]string{"ssh-privatekey": "x"}):    "has no username and password",
		secret(t, map[string]string{"ca.crt": "x"}):            "ca.crt holds no certificate",
		secret(t, map[string]string{".dockerconfigjson": "x"}): "has no username and password",
	} {
		_, _, err := newGit(r).Fetch(t.Context(), repository.GitRef{Repo: url, Ref: "main", Credential: data})
		assert.ErrorContains(t, err, want)
	}
	for _, repo := range []string{r.Dir, "git://127.0.0.1/x"} {
		_, _, err := newGit(r).Fetch(t.Context(), repository.GitRef{Repo: repo, Ref: "main", Credential: secret(t, map[string]string{"token": "x"})})
		assert.ErrorContains(t, err, "for http, https and ssh")
	}
}

// A server can't send credentials on to another one.
func TestCredentialsAreNotRedirected(t *testing.T) {
	t.Parallel()
	r := repositorytest.New(t)
	r.Commit("main", kptfile("", "x"))
	var stolen atomic.Int64
	target := r.ServeHTTP(nil, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			if req.Header.Get("Authorization") != "" {
				stolen.Add(1)
			}
			next.ServeHTTP(w, req)
		})
	})
	redirect := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		http.Redirect(w, req, strings.TrimSuffix(target, "/repo.git")+req.URL.RequestURI(), http.StatusFound)
	}))
	defer redirect.Close()
	for _, data := range []map[string]string{{"username": "me", "password": password}, {"token": password}} {
		dir := t.TempDir()
		for range 3 { // from the server and from the cache
			_, _, err := cachedGit(r, dir).Fetch(t.Context(), repository.GitRef{Repo: redirect.URL + "/repo.git", Ref: "main", Credential: secret(t, data)})
			require.NoError(t, err)
			assert.Zero(t, stolen.Load())
		}
	}
}

// What a cached package's branch means is asked of its server, and of nobody that
// a redirect names, whatever kind it is; who pushes isn't sent elsewhere either.
func TestCredentialsStayWhereTheyAre(t *testing.T) {
	t.Parallel()
	for _, code := range []int{http.StatusMovedPermanently, http.StatusFound, http.StatusTemporaryRedirect, http.StatusPermanentRedirect} {
		r := repositorytest.New(t)
		r.Commit("main", kptfile("", "x"))
		var stolen atomic.Int64
		thief := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			if req.Header.Get("Authorization") != "" {
				stolen.Add(1)
			}
			http.NotFound(w, req)
		}))
		defer thief.Close()
		var moved atomic.Bool
		url := r.ServeHTTP(filtering, func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				if moved.Load() && (req.Header.Get("Git-Protocol") != "" || strings.Contains(req.URL.RequestURI(), "receive-pack")) {
					http.Redirect(w, req, thief.URL+req.URL.RequestURI(), code)
					return
				}
				next.ServeHTTP(w, req)
			})
		})
		ref := repository.GitRef{Repo: url, Ref: "main", Credential: secret(t, map[string]string{"username": "me", "password": password})}
		dir := t.TempDir()
		for _, gone := range []bool{false, true, true} {
			moved.Store(gone)
			_, _, err := cachedGit(r, dir).Fetch(t.Context(), ref)
			require.NoError(t, err)
		}
		assert.Zero(t, stolen.Load(), "%d", code)

		o := openerFor(t, r, "")
		o.Credentials = &repository.CredentialsDir{Dir: secrets(t, map[string]string{"me/username": "me", "me/password": password})}
		repo := declared(url, "")
		repo.Spec.Git.SecretRef.Name = "me"
		opened := open(t, o, repo)
		d, err := opened.CreateDraft(t.Context(), "web", "v1")
		require.NoError(t, err)
		require.NoError(t, d.UpdateResources(t.Context(), files(t, map[string]string{"Kptfile": "x"}), initTask))
		_, err = opened.CloseDraft(t.Context(), d, repository.Close{Lifecycle: api.Draft})
		require.ErrorContains(t, err, "the repository has moved to "+thief.URL)
		assert.Zero(t, stolen.Load(), "%d", code)
	}
}

// A server that never answers what it doesn't know is asked what it does.
func TestCachedFromServerThatHangs(t *testing.T) {
	t.Parallel()
	r := repositorytest.New(t)
	r.Commit("main", kptfile("", "x"))
	done := make(chan struct{})
	url := r.ServeHTTP(filtering, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			if req.Header.Get("Git-Protocol") != "" {
				select {
				case <-done:
				case <-req.Context().Done():
				}
				return
			}
			next.ServeHTTP(w, req)
		})
	})
	t.Cleanup(func() { close(done) })
	dir := t.TempDir()
	for range 2 {
		_, _, err := cachedGit(r, dir).Fetch(t.Context(), repository.GitRef{Repo: url, Ref: "main"})
		require.NoError(t, err)
	}
}

func TestTLSWithOwnCA(t *testing.T) {
	t.Parallel()
	var tries atomic.Int64
	r := repositorytest.New(t)
	r.Commit("main", kptfile("", "x"))
	url, ca := r.ServeHTTPS(filtering, guarded(&tries))
	dir := secrets(t, map[string]string{
		"ns/with/token": password, "ns/with/ca.crt": string(ca),
		"bundled/git/username": "me", "bundled/git/password": password, "bundled/bundled-ca-bundle/ca.crt": string(ca),
		"ns/without/token": password,
	})
	for name, want := range map[[2]string]string{{"ns", "with"}: "", {"bundled", "git"}: "", {"ns", "without"}: "TLS: x509: certificate signed by unknown authority; if it is your own, add ca.crt to the secret"} {
		cred, err := (&repository.CredentialsDir{Dir: dir}).Credential(t.Context(), name[0], name[1])
		require.NoError(t, err)
		_, _, err = newGit(r).Fetch(t.Context(), repository.GitRef{Repo: url, Ref: "main", Credential: cred})
		if want == "" {
			assert.NoError(t, err, name)
		} else {
			assert.ErrorContains(t, err, want)
		}
	}
	// A bundle may stand alone.
	public, ca := r.ServeHTTPS(nil, nil)
	_, _, err := newGit(r).Fetch(t.Context(), repository.GitRef{Repo: public, Ref: "main", Credential: secret(t, map[string]string{"ca.crt": string(ca)})})
	assert.NoError(t, err)
}

func TestSSH(t *testing.T) {
	t.Setenv("SSH_AUTH_SOCK", "")
	t.Setenv("SSH_KNOWN_HOSTS", filepath.Join(t.TempDir(), "none"))
	t.Setenv("TMPDIR", t.TempDir())
	private, public := repositorytest.Key(1)
	stranger, _ := repositorytest.Key(2)
	locked, err := ssh.MarshalPrivateKeyWithPassphrase(mustParseRaw(t, private), "", []byte("x"))
	require.NoError(t, err)
	r := repositorytest.New(t)
	commit := r.Commit("main", kptfile("pkg", "x"))
	url, known := r.ServeSSH(public, filtering)
	address := strings.Fields(known)[0]
	_, otherHost := repositorytest.Key(3)

	for name, tc := range map[string]struct {
		data map[string]string
		want string
	}{
		"fine":           {map[string]string{"ssh-privatekey": string(private), "known_hosts": known}, ""},
		"beside a token": {map[string]string{"ssh-privatekey": string(private), "known_hosts": known, "token": "x"}, ""},
		"another's key":  {map[string]string{"ssh-privatekey": string(stranger), "known_hosts": known}, "ssh: the server refused the keys"},
		"unknown host":   {map[string]string{"ssh-privatekey": string(private), "known_hosts": "other.example " + strings.SplitN(known, " ", 2)[1]}, "ssh: the server's key is not in known_hosts"},
		"changed host":   {map[string]string{"ssh-privatekey": string(private), "known_hosts": address + " " + string(ssh.MarshalAuthorizedKey(otherHost))}, "ssh: the server's key is another than the one in known_hosts"},
		"no known_hosts": {map[string]string{"ssh-privatekey": string(private)}, "add known_hosts to the secret"},
		"bad hosts":      {map[string]string{"ssh-privatekey": string(private), "known_hosts": "x y"}, "known_hosts is malformed"},
		"no key":         {map[string]string{"username": "git", "password": password}, "has no ssh-privatekey"},
		"no PEM":         {map[string]string{"ssh-privatekey": password}, "is no private key"},
		"locked":         {map[string]string{"ssh-privatekey": string(pem.EncodeToMemory(locked))}, "locked with a passphrase"},
	} {
		t.Run(name, func(t *testing.T) {
			_, lock, err := newGit(r).Fetch(t.Context(), repository.GitRef{Repo: url, Ref: "main", Directory: "pkg", Credential: secret(t, tc.data)})
			if tc.want == "" {
				require.NoError(t, err)
				assert.Equal(t, repository.GitLock{Repo: url, Directory: "pkg", Ref: "main", Commit: commit}, lock)
				return
			}
			require.ErrorContains(t, err, tc.want)
			assert.NotContains(t, err.Error(), password)
			assert.Less(t, len(err.Error()), 200)
		})
	}
	left, err := os.ReadDir(os.Getenv("TMPDIR"))
	require.NoError(t, err)
	assert.Empty(t, left)

	t.Run("user's known_hosts", func(t *testing.T) {
		t.Setenv("SSH_KNOWN_HOSTS", filepath.Join(secrets(t, map[string]string{"k": known}), "k"))
		_, _, err := newGit(r).Fetch(t.Context(), repository.GitRef{Repo: url, Ref: "main", Credential: secret(t, map[string]string{"ssh-privatekey": string(private)})})
		require.NoError(t, err)
	})
	t.Run("agent", func(t *testing.T) {
		_, _, err := newGit(r).Fetch(t.Context(), repository.GitRef{Repo: url, Ref: "main"})
		require.ErrorContains(t, err, "allow --allow-ssh-agent")
		git := newGit(r)
		git.SSHAgent = true
		_, _, err = git.Fetch(t.Context(), repository.GitRef{Repo: url, Ref: "main"})
		require.ErrorContains(t, err, "there is no ssh-agent")

		keys := agent.NewKeyring()
		require.NoError(t, keys.Add(agent.AddedKey{PrivateKey: mustParseRaw(t, private)}))
		socket := filepath.Join(t.TempDir(), "agent")
		listener, err := net.Listen("unix", socket)
		require.NoError(t, err)
		defer listener.Close()
		go func() {
			for {
				conn, err := listener.Accept()
				if err != nil {
					return
				}
				go agent.ServeAgent(keys, conn)
			}
		}()
		t.Setenv("SSH_AUTH_SOCK", socket)
		t.Setenv("SSH_KNOWN_HOSTS", filepath.Join(secrets(t, map[string]string{"k": known}), "k"))
		_, _, err = newGit(r).Fetch(t.Context(), repository.GitRef{Repo: url, Ref: "main"})
		require.ErrorContains(t, err, "allow --allow-ssh-agent", "one that isn't allowed isn't asked")
		_, _, err = git.Fetch(t.Context(), repository.GitRef{Repo: url, Ref: "main"})
		require.NoError(t, err)
	})
}

func TestWorkloadIdentity(t *testing.T) {
	t.Parallel()
	var tries, asked atomic.Int64
	r := repositorytest.New(t)
	r.Commit("main", kptfile("", "x"))
	url := r.ServeHTTP(nil, guarded(&tries))
	answer := func(w http.ResponseWriter) {
		fmt.Fprintf(w, `{"access_token":%q,"expires_in":3599,"token_type":"Bearer"}`, password)
	}
	metadata := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		asked.Add(1)
		if req.Header.Get("Metadata-Flavor") != "Google" || req.URL.Path != "/computeMetadata/v1/instance/service-accounts/default/token" {
			http.NotFound(w, req)
			return
		}
		answer(w)
	}))
	defer metadata.Close()
	dir := secrets(t, map[string]string{"ns/git/type": "kpt.dev/workload-identity-auth\n"})
	creds := &repository.CredentialsDir{Dir: dir, MetadataURL: metadata.URL + "/"}
	for range 2 {
		cred, err := creds.Credential(t.Context(), "ns", "git")
		require.NoError(t, err)
		_, _, err = newGit(r).Fetch(t.Context(), repository.GitRef{Repo: url, Ref: "main", Credential: cred})
		require.NoError(t, err)
	}
	assert.EqualValues(t, 1, asked.Load(), "a token is asked for once")

	for want, bad := range map[string]func(http.ResponseWriter){
		"403 Forbidden":  status(403),
		"holds no token": func(w http.ResponseWriter) { fmt.Fprintf(w, `{"access_token":[%q]}`, password) },
		"302 Found":      func(w http.ResponseWriter) { w.Header().Set("Location", "/x"); w.WriteHeader(302) },
	} {
		answer = bad
		_, err := (&repository.CredentialsDir{Dir: dir, MetadataURL: metadata.URL}).Credential(t.Context(), "ns", "git")
		require.ErrorContains(t, err, want)
		assert.NotContains(t, err.Error(), password)
	}
	answer = func(w http.ResponseWriter) {
		fmt.Fprintf(w, `{"access_token":%q,"expires_in":30}`, password)
	}
	asked.Store(0)
	creds = &repository.CredentialsDir{Dir: dir, MetadataURL: metadata.URL}
	for range 2 {
		_, err := creds.Credential(t.Context(), "", "git")
		require.ErrorIs(t, err, repository.ErrNotFound)
		_, err = creds.Credential(t.Context(), "ns", "git")
		require.NoError(t, err)
	}
	assert.EqualValues(t, 2, asked.Load(), "one that is about to end isn't kept")
}

func TestCredentialHelpers(t *testing.T) {
	var tries atomic.Int64
	r := repositorytest.New(t)
	r.Commit("main", kptfile("", "x"))
	url := r.ServeHTTP(nil, guarded(&tries))
	home := t.TempDir()
	asked := filepath.Join(home, "somebody-was-asked")
	ask := filepath.Join(home, "ask")
	require.NoError(t, os.WriteFile(ask, []byte("#!/bin/sh\ntouch "+asked+"\necho x\n"), 0o700))
	config := func(helper string) {
		require.NoError(t, os.WriteFile(filepath.Join(home, "gitconfig"), []byte("[credential]\n\thelper = "+helper+"\n[core]\n\taskPass = "+ask+"\n"), 0o600))
	}
	t.Setenv("GIT_CONFIG_GLOBAL", filepath.Join(home, "gitconfig"))
	t.Setenv("GIT_ASKPASS", ask)
	t.Setenv("SSH_ASKPASS", ask)
	fetch := func(allowed bool) error {
		git := newGit(r)
		git.CredentialHelpers = allowed
		_, _, err := git.Fetch(t.Context(), repository.GitRef{Repo: url, Ref: "main"})
		return err
	}
	config(`"!f() { cat >> ` + home + `/request; echo username=me; echo password=` + password + `; }; f"`)
	require.ErrorContains(t, fetch(false), "needs credentials (401)")
	assert.NoFileExists(t, filepath.Join(home, "request"))
	require.NoError(t, fetch(true))
	request, err := os.ReadFile(filepath.Join(home, "request"))
	require.NoError(t, err)
	assert.Contains(t, string(request), "host="+strings.Split(url, "/")[2])

	config(`"!f() { echo username=me; echo password=wrong; }; f"`)
	require.ErrorContains(t, fetch(true), "refused the credentials (401)")

	config("")
	start := time.Now()
	require.ErrorContains(t, fetch(true), "needs credentials (401)")
	assert.Less(t, time.Since(start), 10*time.Second)
	assert.NoFileExists(t, asked, "nobody is prompted")

	// A repository in the working directory has no say.
	own := t.TempDir()
	r.Git("init", "-q", own)
	require.NoError(t, os.WriteFile(filepath.Join(own, ".git", "config"), []byte("[credential]\n\thelper = \"!touch "+asked+"\"\n"), 0o600))
	t.Chdir(own)
	require.Error(t, fetch(true))
	assert.NoFileExists(t, asked)
}

// What secrets hold is in nothing that comes out: results, locks, errors, logs
// and caches.
func TestSecretsStayInside(t *testing.T) {
	var tries atomic.Int64
	var logs bytes.Buffer
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&logs, &slog.HandlerOptions{Level: slog.LevelDebug})))
	defer slog.SetDefault(before)
	r := repositorytest.New(t)
	r.Commit("main", kptfile("pkg", "x"))
	url := r.ServeHTTP(filtering, guarded(&tries))
	cache := &repository.Cache{Dir: t.TempDir()}
	credentials := &repository.CredentialsDir{Dir: secrets(t, map[string]string{"a/username": "me", "a/password": password, "b/token": password})}

	var out bytes.Buffer
	for _, name := range []string{"a", "b"} {
		cred, err := credentials.Credential(t.Context(), "", name)
		require.NoError(t, err)
		inURL := strings.Replace(url, "http://", "http://me:"+password+"@", 1)
		for _, ref := range []repository.GitRef{
			{Repo: url, Ref: "main", Directory: "pkg", Credential: cred},
			{Repo: url, Ref: "nope", Directory: "pkg", Credential: cred},
			{Repo: url, Ref: "main", Directory: "nope", Credential: cred},
			{Repo: url + "x", Ref: "main", Credential: cred},
			{Repo: "http://127.0.0.1:1/x", Ref: "main", Credential: cred},
			{Repo: "https://elsewhere.example/x", Ref: "main", Credential: cred},
			{Repo: inURL, Ref: "main", Directory: "pkg"},
			{Repo: inURL, Ref: "nope"},
			{Repo: inURL + "?x", Ref: "nope"},
		} {
			git := newGit(r)
			git.Cache, git.Attempts = cache, 1
			tree, lock, err := git.Fetch(t.Context(), ref)
			fmt.Fprintf(&out, "%+v %+v %+v\n", lock, err, errors.Unwrap(err))
			for _, p := range tree.Paths() {
				out.WriteString(content(t, tree, p))
			}
		}
	}
	assert.Equal(t, 4, strings.Count(out.String(), "Commit:")-strings.Count(out.String(), "Commit:}"))
	kept := 0
	require.NoError(t, filepath.WalkDir(cache.Dir, func(p string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			kept++
			raw, readErr := os.ReadFile(p)
			out.WriteString(p)
			out.Write(raw)
			info, statErr := d.Info()
			require.NoError(t, errors.Join(readErr, statErr))
			assert.Equal(t, fs.FileMode(0o600), info.Mode().Perm())
		}
		return err
	}))
	assert.Equal(t, 2, kept, "the package, and that it was fetched by name")
	for _, text := range []string{out.String(), logs.String()} {
		assert.NotContains(t, text, password)
	}
}

func mustParseRaw(t *testing.T, private []byte) any {
	t.Helper()
	key, err := ssh.ParseRawPrivateKey(private)
	require.NoError(t, err)
	return key
}
