package api

// InitTask makes a new package: a Kptfile, a README.md and a
// package-context.yaml. All its fields may be left out: init: {}.
type InitTask struct {
	// Subpackage is a directory of the target to make the package in. Default:
	// the target itself. Set by the user.
	Subpackage string `yaml:"subpackage,omitempty"`
	// Description becomes the Kptfile's info.description. Default none; set by
	// the user.
	Description string `yaml:"description,omitempty"`
	// Keywords become the Kptfile's info.keywords. Default none; set by the
	// user.
	Keywords []string `yaml:"keywords,omitempty"`
	// Site becomes the Kptfile's info.site, a URL. Default none; set by the
	// user.
	Site string `yaml:"site,omitempty"`
}

func (t *InitTask) validate(p *problems, field string) {
	if why := checkSubpath(t.Subpackage); why != "" {
		p.addf(field+".subpackage", "%s %s", quote(t.Subpackage), why)
	}
}
