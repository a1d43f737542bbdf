package api

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

const goodInit = "spec: {packageName: sites/edge, tasks: [{type: init, init: {}}]}"

func TestValidateCreateTasks(t *testing.T) {
	task := func(text string) string { return pr("spec: {packageName: edge, tasks: [" + text + "]}") }
	git := func(text string) string { return task("{type: clone, clone: {upstreamRef: {git: {" + text + "}}}}") }
	const field = "PackageRevision edge: spec.tasks[0]"
	const gitField = field + ".clone.upstreamRef.git"
	tests := []struct{ name, in, want string }{
		{"init", task("{type: init, init: {}}"), ""},
		{"init with all", task("{type: init, init: {subpackage: a/b_c.d, description: d, keywords: [k], site: s}}"), ""},
		{"clone git", git("repo: https://example.com/r, ref: v1, directory: /a"), ""},
		{"clone root", git("repo: https://example.com/r, ref: v1, directory: ."), ""},
		{"clone with type", task("{type: clone, clone: {upstreamRef: {type: git, git: {repo: r, ref: v, directory: /}}}}"), ""},
		{"clone oci", task("{type: clone, clone: {upstreamRef: {type: oci, oci: {image: example.com/a:v1}}}}"), ""},
		{"clone registered", task("{type: clone, clone: {upstreamRef: {upstreamRef: {name: a.b.v1}}}}"), ""},
		{"edit", task("{type: edit, edit: {sourceRef: {name: a.b.v1}}}"), ""},
		{"upgrade", task("{type: upgrade, upgrade: {oldUpstreamRef: {name: a}, newUpstreamRef: {name: b}, localPackageRevisionRef: {name: c}}}"), ""},

		{"no task", pr("spec: {packageName: edge}"), "PackageRevision edge: spec.tasks: is missing: a PackageRevision is created from exactly one task (init, clone, edit or upgrade)"},
		{"empty list", task(""), "PackageRevision edge: spec.tasks: is missing: a PackageRevision is created from exactly one task (init, clone, edit or upgrade)"},
		{"two tasks", task("{type: init, init: {}}, {type: edit, edit: {sourceRef: {name: a}}}"),
			"PackageRevision edge: spec.tasks: has 2 tasks: a PackageRevision is created from exactly one; append the others once it has been created, they are then applied in order"},

		{"no type", task("{init: {}}"), field + ".type: is missing: write type: init"},
		{"nothing", task("{}"), field + ".type: is missing: write one of init, clone, edit, upgrade"},
		{"misspelt type", task("{type: clon}"), field + `.type: unknown task type "clon"; did you mean "clone"? (known: init, clone, edit, upgrade)`},
		{"patch", task("{type: patch}"), field + `.type: "patch": Porch removed tasks of this type; edit the package's files instead (known: init, clone, edit, upgrade)`},
		{"eval", task("{type: eval}"), field + `.type: "eval": Porch removed tasks of this type; add the function to the Kptfile's pipeline instead (known: init, clone, edit, upgrade)`},
		{"update", task("{type: update}"), field + `.type: "update": Porch removed tasks of this type; write an upgrade task instead (known: init, clone, edit, upgrade)`},
		{"render", task("{type: render}"), field + `.type: "render" is a type that Porch notes in commits and isn't ordered by a task: write one of init, clone, edit, upgrade`},
		{"other member", task("{type: clone, init: {}}"), field + ": has type clone but init set: write type: init, or clone: {upstreamRef: ...}"},
		{"no member", task("{type: init}"), field + ".init: is missing: a task of type init has a member init: {}"},
		{"null member", task("{type: init, init: }"), field + ".init: is missing: a task of type init has a member init: {}"},
		{"two members", task("{type: clone, init: {}, clone: {}}"), field + ": has init and clone set: keep clone, which its type names, and make a task of each other"},

		{"subpackage outside", task("{type: init, init: {subpackage: ../a}}"), field + `.init.subpackage: "../a" leads out of the package (..): write a path below the package that declares it`},
		{"no upstream", task("{type: clone, clone: {}}"), field + ".clone.upstreamRef: names no upstream: set one of git (repo, ref, directory), oci (image) and upstreamRef (name)"},
		{"two upstreams", task("{type: clone, clone: {upstreamRef: {git: {}, upstreamRef: {name: a}}}}"), field + ".clone.upstreamRef: has git and upstreamRef set: keep the one the package comes from"},
		{"type disagrees", task("{type: clone, clone: {upstreamRef: {type: oci, git: {}}}}"), field + ".clone.upstreamRef.type: is oci but git is set: write type: git, or set oci instead"},
		{"type with reference", task("{type: clone, clone: {upstreamRef: {type: git, upstreamRef: {name: a}}}}"), field + ".clone.upstreamRef.type: is git but upstreamRef is set: leave type out"},
		{"unknown upstream type", task("{type: clone, clone: {upstreamRef: {type: svn, git: {}}}}"), field + `.clone.upstreamRef.type: is "svn": write git or oci, or leave it out`},
		{"git without anything", git(""), lines(
			gitField+".repo: is missing: write the repository's URL",
			gitField+".ref: is missing: write a branch, tag or commit",
			gitField+`.directory: is missing: write the package's path in the repository, "." for its root`)},
		{"option as repo", git("repo: --upload-pack=x, ref: -x, directory: a"), lines(
			gitField+`.repo: "--upload-pack=x" begins with -`,
			gitField+`.ref: "-x" begins with -`)},
		{"control characters", git(`repo: "a\nb", ref: "a b", directory: "a\tb"`), lines(
			gitField+`.repo: "a\nb" has a space or control character`,
			gitField+`.ref: "a b" has a space or control character`,
			gitField+`.directory: "a\tb" has a control character`)},
		{"directory upwards", git("repo: r, ref: v, directory: /a/../../b"), gitField + `.directory: "/a/../../b" leads upwards (..): write the path from the repository's root`},
		{"directory with backslash", git(`repo: r, ref: v, directory: a\b`), gitField + `.directory: "a\\b" has a backslash: write / between directories`},
		{"no image", task("{type: clone, clone: {upstreamRef: {oci: {}}}}"), field + ".clone.upstreamRef.oci.image: is missing: write the image's reference, such as registry.example.com/packages/redis:v1"},
		{"reference without name", task("{type: clone, clone: {upstreamRef: {upstreamRef: {}}}}"), field + ".clone.upstreamRef.upstreamRef.name: is missing: name the PackageRevision to clone"},
		{"edit without source", task("{type: edit, edit: {}}"), field + ".edit.sourceRef.name: is missing: name the published PackageRevision to copy"},
		{"upgrade without anything", task("{type: upgrade, upgrade: {strategy: fast-foward}}"), lines(
			field+".upgrade.oldUpstreamRef.name: is missing: name the PackageRevision that the package was cloned from or last upgraded to",
			field+".upgrade.newUpstreamRef.name: is missing: name the PackageRevision to upgrade to",
			field+".upgrade.localPackageRevisionRef.name: is missing: name the PackageRevision to be upgraded",
			field+`.upgrade.strategy: is "fast-foward"; did you mean "fast-forward"? (known: resource-merge, copy-merge, force-delete-replace, fast-forward)`)},
		{"bad reference", task("{type: edit, edit: {sourceRef: {name: a/b}}}"), field + `.edit.sourceRef.name: "a/b" ` + subdomainRule},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			assert.Equal(t, tt.want, said(t, decode[*PackageRevision](t, tt.in).ValidateCreate()))
		})
	}
}

func TestValidate(t *testing.T) {
	spec := func(text string) string {
		return pr("spec: {packageName: edge, tasks: [{type: init, init: {}}], " + text + "}")
	}
	name := func(s string) string {
		return pr("spec: {packageName: \"" + s + "\", tasks: [{type: init, init: {}}]}")
	}
	meta := func(text string) string {
		return "apiVersion: porch.kpt.dev/v1alpha1\nkind: PackageRevision\nmetadata: {" + text + "}\n" + goodInit
	}
	const edge = "PackageRevision edge: "
	tests := []struct{ name, in, want string }{
		{"good", pr(goodInit), ""},
		{"several tasks", pr("spec: {packageName: a, tasks: [{type: init, init: {}}, {type: edit, edit: {sourceRef: {name: a}}}]}"), ""},
		{"all lifecycles", spec("lifecycle: DeletionProposed, repository: r, workspaceName: v1, revision: -1, readinessGates: [{conditionType: a}]"), ""},

		{"no name", meta(""), "PackageRevision: metadata.name: is missing: results, references and records need the object's name"},
		{"only generateName", meta("generateName: a-"), "PackageRevision: metadata.name: is missing: results, references and records need the object's name"},
		{"name as path", meta("name: ../a"), `PackageRevision ../a: metadata.name: "../a" ` + subdomainRule},
		{"no packageName", pr("spec: {tasks: []}"), edge + "spec.packageName: is missing: it names the package and is where it is put unless annotation stoop.dev/target says otherwise"},
		{"absolute", name("/a"), edge + `spec.packageName: "/a" is absolute: write a path below the package that declares it`},
		{"upwards", name("a/../b"), edge + `spec.packageName: "a/../b" has the segment ..: write a path of plain names`},
		{"dot", name("."), edge + `spec.packageName: "." has the segment .: write a path of plain names`},
		{"empty segment", name("a//b"), edge + `spec.packageName: "a//b" has an empty segment: write one / between two names and none at the end`},
		{"trailing slash", name("a/"), edge + `spec.packageName: "a/" has an empty segment: write one / between two names and none at the end`},
		{".git", name("a/.git"), edge + `spec.packageName: "a/.git" has the segment ".git", which ` + labelRule},
		{"capital", name("a/B"), edge + `spec.packageName: "a/B" has the segment "B", which ` + labelRule},
		{"workspace", spec("workspaceName: v1.2"), edge + `spec.workspaceName: "v1.2" ` + labelRule},
		{"repository", spec("repository: a/b"), edge + `spec.repository: "a/b" ` + labelRule},
		{"revision", spec("revision: -2"), edge + "spec.revision: is -2: revisions count from 1; leave it out of a new object"},
		{"parent", spec("parent: {}"), edge + "spec.parent.name: is missing: name the parent, or take parent out"},
		{"lifecycle", spec("lifecycle: draft"), edge + `spec.lifecycle: is "draft": write Draft, Proposed, Published or DeletionProposed`},
		{"gates", spec("readinessGates: [{conditionType: a}, {}, {conditionType: a}]"), lines(
			edge+"spec.readinessGates[1].conditionType: is missing: name the type of condition to wait for",
			edge+`spec.readinessGates[2].conditionType: "a" is named twice`)},
		{"conditions", pr(goodInit + "\nstatus: {conditions: [{type: a, status: \"true\"}, {status: \"True\"}, {type: a}]}"), lines(
			edge+`status.conditions[0].status: is "true": write True, False or Unknown`,
			edge+"status.conditions[1].type: is missing",
			edge+`status.conditions[2].type: "a" is there twice`,
			edge+"status.conditions[2].status: is missing: write True, False or Unknown")},
		{"target", meta("name: edge, annotations: {stoop.dev/target: ../x}"), edge + `metadata.annotations[stoop.dev/target]: "../x" leads out of the package (..): write a path below the package that declares it`},
		{"misspelt annotation", meta("name: edge, annotations: {stoop.dev/tagret: x, other.dev/tagret: y}"),
			edge + `metadata.annotations[stoop.dev/tagret]: unknown annotation of stoop; did you mean "stoop.dev/target"? (known: stoop.dev/target, stoop.dev/applied, stoop.dev/observed, stoop.dev/carrier, stoop.dev/on-conflict)`},
		{"on-conflict", meta("name: edge, annotations: {stoop.dev/on-conflict: theirs}"), edge + `metadata.annotations[stoop.dev/on-conflict]: is "theirs": write fail, local or upstream`},
		{"record", meta("name: edge, annotations: {stoop.dev/applied: one, stoop.dev/observed: abc}"), lines(
			edge+`metadata.annotations[stoop.dev/applied]: "one" isn't a record of applied tasks (<number>:<sha256 in hex>): it is stoop's own note and isn't edited by hand; put back the value it had`,
			edge+`metadata.annotations[stoop.dev/observed]: "abc" isn't a sha256 in hex: it is stoop's own note and isn't edited by hand; put back the value it had`)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			assert.Equal(t, tt.want, said(t, decode[*PackageRevision](t, tt.in).Validate()))
		})
	}
}

func TestValidateTask(t *testing.T) {
	r := decode[*PackageRevision](t, pr("spec: {tasks: [{type: init, init: {}}, {type: edit, edit: {}}]}"))
	assert.Empty(t, said(t, r.ValidateTask(0)))
	assert.Equal(t, "PackageRevision edge: spec.tasks[1].edit.sourceRef.name: is missing: name the published PackageRevision to copy", said(t, r.ValidateTask(1)))
}

func TestLifecycle(t *testing.T) {
	r := new(PackageRevision)
	assert.Equal(t, Draft, r.Lifecycle())
	assert.False(t, r.IsPublished())
	for l, want := range map[Lifecycle]bool{Draft: false, Proposed: false, Published: true, DeletionProposed: true} {
		r.Spec.Lifecycle = l
		assert.Equal(t, l, r.Lifecycle())
		assert.Equal(t, want, r.IsPublished(), l)
	}
}

func TestGitPath(t *testing.T) {
	for in, want := range map[string]string{"/": ".", ".": ".", "": ".", "a/b/": "a/b", "//a/./b": "a/b", "/a": "a"} {
		assert.Equal(t, want, (&GitPackage{Directory: in}).Path(), in)
	}
}
