package api

import "strings"

// CloneTask copies a package from elsewhere and remembers where it came from.
type CloneTask struct {
	// UpstreamRef is where the package comes from. Required; set by the user.
	UpstreamRef UpstreamRef `yaml:"upstreamRef,omitempty"`
}

// fieldHint explains a field that the schema had once.
func (CloneTask) fieldHint(field string) string {
	if field == "strategy" {
		return "Porch removed it; an upgrade task says how to merge"
	}
	return ""
}

// UpstreamType is the sort of place a package comes from.
type UpstreamType string

// The sorts of places.
const (
	UpstreamGit UpstreamType = "git"
	UpstreamOCI UpstreamType = "oci"
)

// UpstreamRef is where a package comes from. Exactly one of Git, OCI and
// UpstreamRef is set.
type UpstreamRef struct {
	// Type is git or oci, and must agree with the member that is set. Default:
	// what the member says; none for upstreamRef. Set by the user.
	Type UpstreamType `yaml:"type,omitempty"`
	// Git is a directory of any git repository.
	Git *GitPackage `yaml:"git,omitempty"`
	// OCI is an image in any registry.
	OCI *OCIPackage `yaml:"oci,omitempty"`
	// UpstreamRef is a PackageRevision: one declared beside this object, or
	// one of a declared Repository.
	UpstreamRef *PackageRevisionRef `yaml:"upstreamRef,omitempty"`
}

// GitPackage is a directory of a git repository.
type GitPackage struct {
	// Repo is the repository's URL. Required; set by the user.
	Repo string `yaml:"repo,omitempty"`
	// Ref is a branch, tag or commit. Required; set by the user.
	Ref string `yaml:"ref,omitempty"`
	// Directory is the package's path in the repository; "/" or "." is its
	// root, a leading / is dropped. Required; set by the user.
	Directory string `yaml:"directory,omitempty"`
	// SecretRef names the credentials for the repository. Default none; set by
	// the user. Where credentials are kept is for the operator to say.
	SecretRef SecretRef `yaml:"secretRef,omitempty"`
}

// Path is the directory as a clean path without a leading slash, "." for the
// repository's root.
func (g *GitPackage) Path() string { return repositoryPath(g.Directory) }

// SecretRef names a secret.
type SecretRef struct {
	// Name of the secret. Default none; set by the user.
	Name string `yaml:"name,omitempty"`
}

// OCIPackage is a package in an OCI image.
type OCIPackage struct {
	// Image is the image's reference with tag or digest. Required; set by the
	// user.
	Image string `yaml:"image,omitempty"`
}

func (t *CloneTask) validate(p *problems, field string) {
	t.UpstreamRef.validate(p, field+".upstreamRef")
}

func (u *UpstreamRef) validate(p *problems, field string) {
	var set []string
	if u.Git != nil {
		set = append(set, "git")
	}
	if u.OCI != nil {
		set = append(set, "oci")
	}
	if u.UpstreamRef != nil {
		set = append(set, "upstreamRef")
	}
	switch {
	case u.Type != "" && u.Type != UpstreamGit && u.Type != UpstreamOCI:
		p.addf(field+".type", "is %s: write git or oci, or leave it out", quote(string(u.Type)))
	case len(set) == 0:
		p.addf(field, "names no upstream: set one of git (repo, ref, directory), oci (image) and upstreamRef (name)")
	case len(set) > 1:
		p.addf(field, "has %s set: keep the one the package comes from", strings.Join(set, " and "))
	case u.Type != "" && u.UpstreamRef != nil:
		p.addf(field+".type", "is %s but upstreamRef is set: leave type out", u.Type)
	case u.Type != "" && string(u.Type) != set[0]:
		p.addf(field+".type", "is %s but %s is set: write type: %s, or set %s instead", u.Type, set[0], set[0], u.Type)
	case u.Git != nil:
		u.Git.validate(p, field+".git")
	case u.OCI != nil:
		validateWord(p, field+".oci.image", u.OCI.Image, "write the image's reference, such as registry.example.com/packages/redis:v1")
	default:
		u.UpstreamRef.validate(p, field+".upstreamRef", "the PackageRevision to clone")
	}
}

func (g *GitPackage) validate(p *problems, field string) {
	validateWord(p, field+".repo", g.Repo, "write the repository's URL")
	validateWord(p, field+".ref", g.Ref, "write a branch, tag or commit")
	if g.Directory == "" {
		p.missing(field+".directory", `write the package's path in the repository, "." for its root`)
	} else if why := checkDirectory(g.Directory); why != "" {
		p.addf(field+".directory", "%s %s", quote(g.Directory), why)
	}
}

// validateWord checks a URL, ref or the like that must be there; advice says
// what to write when it isn't.
func validateWord(p *problems, field, value, advice string) {
	if value == "" {
		p.missing(field, "%s", advice)
	} else if why := checkWord(value); why != "" {
		p.addf(field, "%s %s", quote(WithoutCredentials(value)), why)
	}
}

// validate checks a reference that must name something; what says what.
func (r *PackageRevisionRef) validate(p *problems, field, what string) {
	if r.Name == "" {
		p.missing(field+".name", "name %s", what)
	} else if why := checkSubdomain(r.Name); why != "" {
		p.addf(field+".name", "%s %s", quote(r.Name), why)
	}
}
