package api

// Repository declares a repository of packages. Schema:
// config.porch.kpt.dev/v1alpha1.
type Repository struct {
	Header `yaml:",inline"`
	// Spec says where the repository is.
	Spec RepositorySpec `yaml:"spec,omitempty"`
	// Status is what Porch last saw of it. Not used.
	Status RepositoryStatus `yaml:"status,omitempty"`
}

// RepositorySpec says where a repository is. Exactly one of Git and OCI is set.
type RepositorySpec struct {
	// Description is for people. Default none; set by the user.
	Description string `yaml:"description,omitempty"`
	// Deployment says that the packages are meant to be deployed as they are:
	// clones into it get their own package context. Default false; set by the
	// user.
	Deployment bool `yaml:"deployment,omitempty"`
	// Type is git or oci, and must agree with the member that is set. Default:
	// what the member says. Set by the user.
	Type UpstreamType `yaml:"type,omitempty"`
	// Content is Package. Deprecated in Porch; not used.
	Content string `yaml:"content,omitempty"`
	// Sync says when Porch reads the repository anew. Not used.
	Sync *RepositorySync `yaml:"sync,omitempty"`
	// Git is a git repository.
	Git *GitRepository `yaml:"git,omitempty"`
	// OCI is a registry.
	OCI *OCIRepository `yaml:"oci,omitempty"`
}

// RepositorySync says when Porch reads a repository anew. Not used.
type RepositorySync struct {
	// Schedule is a cron expression.
	Schedule string `yaml:"schedule,omitempty"`
	// RunOnceAt is one more time, RFC 3339.
	RunOnceAt string `yaml:"runOnceAt,omitempty"`
}

// GitRepository is a git repository with packages.
type GitRepository struct {
	// Repo is the repository's URL. Required; set by the user.
	Repo string `yaml:"repo,omitempty"`
	// Branch is where packages are published. Default main; set by the user.
	Branch string `yaml:"branch,omitempty"`
	// CreateBranch says that the branch may be made when it isn't there.
	// Default false; set by the user.
	CreateBranch bool `yaml:"createBranch,omitempty"`
	// Directory is where the packages are; a leading / is dropped. Default the
	// repository's root; set by the user.
	Directory string `yaml:"directory,omitempty"`
	// SecretRef names the credentials for the repository. Default none; set by
	// the user.
	SecretRef SecretRef `yaml:"secretRef,omitempty"`
	// Author is the name commits are made under. Default: who runs stoop; set
	// by the user.
	Author string `yaml:"author,omitempty"`
	// Email is the address commits are made under. Default: that of who runs
	// stoop; set by the user.
	Email string `yaml:"email,omitempty"`
}

// Path is the directory as a clean path without a leading slash, "." for the
// repository's root.
func (g *GitRepository) Path() string { return repositoryPath(g.Directory) }

// OCIRepository is a registry with packages.
type OCIRepository struct {
	// Registry is its address, such as registry.example.com/packages. Required;
	// set by the user.
	Registry string `yaml:"registry,omitempty"`
	// SecretRef names the credentials for the registry. Default none; set by
	// the user.
	SecretRef SecretRef `yaml:"secretRef,omitempty"`
}

// RepositoryStatus is what Porch last saw of a repository. Not used.
type RepositoryStatus struct {
	// Conditions has type Ready.
	Conditions []RepositoryCondition `yaml:"conditions,omitempty"`
	// LastFullSyncTime is when Porch last read the repository, RFC 3339.
	LastFullSyncTime string `yaml:"lastFullSyncTime,omitempty"`
	// NextFullSyncTime is when it will next, RFC 3339.
	NextFullSyncTime string `yaml:"nextFullSyncTime,omitempty"`
	// ObservedGeneration is the generation of spec that was last acted on.
	ObservedGeneration int64 `yaml:"observedGeneration,omitempty"`
	// ObservedRunOnceAt is the runOnceAt that was last acted on, RFC 3339.
	ObservedRunOnceAt string `yaml:"observedRunOnceAt,omitempty"`
	// PackageCount is how many package revisions there are.
	PackageCount int `yaml:"packageCount,omitempty"`
	// GitCommitHash is the commit that was last read.
	GitCommitHash string `yaml:"gitCommitHash,omitempty"`
}

// RepositoryCondition is a condition as Kubernetes has it. Not used.
type RepositoryCondition struct {
	// Type names the condition.
	Type string `yaml:"type,omitempty"`
	// Status is True, False or Unknown.
	Status ConditionStatus `yaml:"status,omitempty"`
	// ObservedGeneration is the generation of spec it is about.
	ObservedGeneration int64 `yaml:"observedGeneration,omitempty"`
	// LastTransitionTime is when Status changed, RFC 3339.
	LastTransitionTime string `yaml:"lastTransitionTime,omitempty"`
	// Reason is a word for programs.
	Reason string `yaml:"reason,omitempty"`
	// Message is a text for people.
	Message string `yaml:"message,omitempty"`
}

// Validate implements [Object].
func (r *Repository) Validate() error {
	p := r.problems()
	r.Header.validate(p)
	if name := r.Metadata.Name; checkSubdomain(name) == "" {
		if why := checkLabel(name); why != "" {
			p.addf("metadata.name", "%s %s", quote(name), why)
		}
	}
	s := &r.Spec
	if s.Content != "" && s.Content != "Package" {
		p.addf("spec.content", "is %s: write Package, or leave it out", quote(s.Content))
	}
	switch {
	case s.Type != "" && s.Type != UpstreamGit && s.Type != UpstreamOCI:
		p.addf("spec.type", "is %s: write git or oci", quote(string(s.Type)))
	case s.Git == nil && s.OCI == nil:
		p.addf("spec", "names no place: set git (repo) or oci (registry)")
	case s.Git != nil && s.OCI != nil:
		p.addf("spec", "has git and oci set: keep one")
	case s.Type == UpstreamOCI && s.Git != nil:
		p.addf("spec.type", "is oci but git is set: write type: git, or set oci instead")
	case s.Type == UpstreamGit && s.OCI != nil:
		p.addf("spec.type", "is git but oci is set: write type: oci, or set git instead")
	case s.OCI != nil:
		validateWord(p, "spec.oci.registry", s.OCI.Registry, "write the registry's address, such as registry.example.com/packages")
	default:
		s.Git.validate(p, "spec.git")
	}
	return p.err()
}

func (g *GitRepository) validate(p *problems, field string) {
	validateWord(p, field+".repo", g.Repo, "write the repository's URL")
	if why := checkWord(g.Branch); why != "" {
		p.addf(field+".branch", "%s %s", quote(g.Branch), why)
	}
	if why := checkDirectory(g.Directory); why != "" {
		p.addf(field+".directory", "%s %s", quote(g.Directory), why)
	}
}
