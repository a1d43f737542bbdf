package task_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stoop-dev/stoop/fn/runtime/builtin"
	"github.com/stoop-dev/stoop/orchestration/api"
	"github.com/stoop-dev/stoop/orchestration/kptpkg"
	"github.com/stoop-dev/stoop/orchestration/merge"
	"github.com/stoop-dev/stoop/orchestration/render"
	"github.com/stoop-dev/stoop/orchestration/task"
)

type files map[string]string

// and is f with other files; an empty one is none.
func (f files) and(more files) files {
	all := maps.Clone(f)
	maps.Copy(all, more)
	maps.DeleteFunc(all, func(_, text string) bool { return text == "" })
	return all
}

// edited is f with a text in a file replaced.
func (f files) edited(t *testing.T, name, old, text string) files {
	t.Helper()
	require.Contains(t, f[name], old)
	return f.and(files{name: strings.Replace(f[name], old, text, 1)})
}

func kptfileWith(mutators string) string {
	k := "apiVersion: kpt.dev/v1\nkind: Kptfile\nmetadata:\n  name: web\n"
	if mutators != "" {
		k += "pipeline:\n  mutators:\n" + mutators
	}
	return k
}

const (
	setNamespace = "  - image: set-namespace:v0.4.1\n    configMap: {namespace: prod}\n"
	applySetters = "  - image: apply-setters:v0.2\n    configPath: setters.yaml\n"
)

func configMap(name, data string) string {
	return "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: " + name + "\ndata:\n" + data
}

// unrendering is a job that merges what its revision renders.
func unrendering() *task.Job {
	pr := &api.PackageRevision{}
	pr.Spec.PackageName = "web"
	return &task.Job{Revision: pr, Renderer: &render.Renderer{Runtime: builtin.New(builtin.Compatible)}}
}

// made is what cloning files makes of them.
func made(t testing.TB, f files, chain ...task.Mutation) files {
	t.Helper()
	j := unrendering()
	j.Package = tree(t, f)
	if chain == nil {
		chain = []task.Mutation{task.LockUpstream, task.AddMergeKeys, task.Render}
	}
	for _, m := range chain {
		var err error
		j.Package, err = m.Apply(t.Context(), j)
		require.NoError(t, err)
	}
	return text(t, j.Package)
}

func text(t testing.TB, tr kptpkg.Tree) files {
	t.Helper()
	f := files{}
	for _, p := range tr.Paths() {
		b, err := tr.File(p).Bytes()
		require.NoError(t, err)
		f[p] = string(b)
	}
	return f
}

func places(cs merge.Conflicts, info bool) []string {
	var all []string
	for _, c := range cs {
		if c.Info == info {
			all = append(all, c.Place())
		}
	}
	return all
}

// What rendering wrote is nobody's change; what it would not write again is.
func TestMergeRendered(t *testing.T) {
	base := files{
		"Kptfile":      kptfileWith(setNamespace + applySetters),
		"setters.yaml": configMap("setters", "  image: web:1\n  replicas: \"3\"\n"),
		"cm.yaml":      configMap("cm", "  color: red\n  size: small\n"),
		"web.yaml":     "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: web\nspec:\n  replicas: 1 # kpt-set: ${replicas}\n",
	}
	v2 := base.edited(t, "cm.yaml", "red", "blue")
	mine := func(t *testing.T) files { return made(t, base).edited(t, "cm.yaml", "red", "green") }
	const color = "cm.yaml:data.color"
	check := func(name string, base, local, v2 files, want []string, contains, lacks map[string]string) {
		t.Run(name, func(t *testing.T) {
			j := unrendering()
			_, err := j.Merge(t.Context(), tree(t, base), tree(t, local), tree(t, v2), merge.Options{Root: true, Nested: true})
			var open *merge.ConflictError
			var got []string
			if err != nil {
				require.ErrorAs(t, err, &open)
				got = places(open.Conflicts, false)
			}
			assert.Equal(t, want, got)
			res, err := unrendering().Merge(t.Context(), tree(t, base), tree(t, local), tree(t, v2), merge.Options{Root: true, Nested: true, OnConflict: merge.TakeLocal})
			require.NoError(t, err)
			c := text(t, res.Tree)
			for f, text := range contains {
				assert.Contains(t, c[f], text)
			}
			for f, text := range lacks {
				assert.NotContains(t, c[f], text)
			}
			again, err := unrendering().Merge(t.Context(), tree(t, v2), res.Tree, tree(t, v2), merge.Options{Root: true, Nested: true})
			require.NoError(t, err)
			assert.Equal(t, c, text(t, again.Tree), "a second run")
		})
	}
	check("a pipeline that was taken out", base, mine(t).and(files{"Kptfile": kptfileWith("")}), v2.edited(t, "web.yaml", "replicas: 1", "replicas: 2"),
		[]string{color, "web.yaml:spec.replicas"}, files{"cm.yaml": "namespace: prod", "web.yaml": "namespace: prod"}, nil)
	check("a pipeline that upstream took out", base, mine(t), v2.and(files{"Kptfile": kptfileWith(applySetters)}),
		[]string{color}, files{"cm.yaml": "namespace: prod", "web.yaml": "namespace: prod"}, nil)
	check("renamed by hand", base, mine(t).edited(t, "cm.yaml", "name: cm", "name: ours"), v2,
		[]string{color}, files{"cm.yaml": "name: ours"}, nil)
	check("a setter of one's own", base, made(t, mine(t).edited(t, "setters.yaml", `"3"`, `"4"`)), v2.edited(t, "web.yaml", "replicas: 1", "replicas: 5").edited(t, "setters.yaml", `"3"`, `"5"`),
		[]string{color}, files{"web.yaml": "replicas: 5 #", "setters.yaml": `"4"`}, nil)
	check("edited by hand over what is rendered", base, mine(t).edited(t, "web.yaml", "replicas: 3", "replicas: 7"), v2.edited(t, "web.yaml", "replicas: 1", "replicas: 5"),
		[]string{color, "web.yaml:spec.replicas"}, files{"web.yaml": "replicas: 7"}, nil)
	edited := v2.edited(t, "web.yaml", "replicas: 1", "replicas: 5").edited(t, "setters.yaml", `"3"`, `"5"`)
	check("a setter that was not rendered yet", base, mine(t).edited(t, "setters.yaml", `"3"`, `"9"`), edited,
		[]string{color}, files{"web.yaml": "replicas: 5 #", "setters.yaml": `"9"`}, nil)
	check("edited by hand beside a setter that was not rendered yet", base, mine(t).edited(t, "setters.yaml", `"3"`, `"9"`).edited(t, "web.yaml", "replicas: 3", "replicas: 7"), edited,
		[]string{color, "web.yaml:spec.replicas"}, files{"web.yaml": "replicas: 7"}, nil)
	check("pinned by taking the setter out", base, mine(t).edited(t, "setters.yaml", "  replicas: \"3\"\n", ""), edited,
		[]string{color, "web.yaml:spec.replicas"}, files{"web.yaml": "replicas: 3 #"}, nil)
	check("pinned by taking the setter's comment out, and a setter that was not rendered yet", base,
		mine(t).edited(t, "web.yaml", "replicas: 3 # kpt-set: ${replicas}", "replicas: 3").edited(t, "setters.yaml", `"3"`, `"9"`), edited,
		[]string{color, "web.yaml:spec.replicas"}, files{"web.yaml": "replicas: 3\n"}, nil)
	check("pinned by taking the setter's comment out", base, mine(t).edited(t, "web.yaml", "replicas: 3 # kpt-set: ${replicas}", "replicas: 3"), v2.edited(t, "web.yaml", "replicas: 1", "replicas: 5").edited(t, "setters.yaml", `"3"`, `"5"`),
		[]string{color, "web.yaml:spec.replicas"}, files{"web.yaml": "replicas: 3\n"}, nil)
	containers := func(image string) string {
		return "apiVersion: v1\nkind: Pod\nmetadata:\n  name: pod\nspec:\n  containers:\n  - name: a\n    image: " + image + " # kpt-set: ${image}\n  - name: b\n    image: " + image + " # kpt-set: ${image}\n"
	}
	pod := base.and(files{"pod.yaml": containers("x"), "cm.yaml": ""})
	check("pinned in an item of a list", pod, made(t, pod).edited(t, "pod.yaml", "image: web:1 # kpt-set: ${image}\n  - name: b", "image: web:1\n  - name: b").edited(t, "pod.yaml", "  - name: a", "  - name: mine\n    image: y\n  - name: a"),
		pod.and(files{"pod.yaml": containers("z")}), []string{"pod.yaml:spec.containers[name=a].image"}, files{"pod.yaml": "  - name: b\n    image: z # kpt-set"}, nil)
	service := func(port string) string {
		return "apiVersion: v1\nkind: Service\nmetadata:\n  name: svc\nspec:\n  ports:\n  - port: 80\n    targetPort: " + port + " # kpt-set: ${tp}\n"
	}
	svc := files{"Kptfile": kptfileWith(applySetters), "setters.yaml": configMap("setters", "  tp: \"80\"\n"), "svc.yaml": service("80")}
	const inserted = "  ports:\n  - port: 22\n    targetPort: 22\n"
	own := made(t, svc).edited(t, "setters.yaml", `"80"`, `"9090"`).edited(t, "svc.yaml", "  ports:\n", inserted)
	check("an item put before one that is known by its keys", svc, made(t, own), svc.and(files{"svc.yaml": service("81")}),
		nil, files{"svc.yaml": inserted + "  - port: 80\n    targetPort: 81 # kpt-set"}, nil)
	check("pinned in an item that is known by its keys", svc, made(t, own).edited(t, "svc.yaml", "targetPort: 9090 # kpt-set: ${tp}", "targetPort: 9090"), svc.and(files{"svc.yaml": service("81")}),
		[]string{"svc.yaml:spec.ports[port=80,protocol=TCP].targetPort"}, files{"svc.yaml": "targetPort: 9090\n"}, nil)
	inline := func(port string) string {
		return kptfileWith("  - image: apply-setters:v0.2\n    configMap: {tp: \"" + port + "\"}\n")
	}
	inlined := files{"Kptfile": inline("81"), "svc.yaml": service("80")}
	own = made(t, inlined).edited(t, "Kptfile", `"81"`, `"9090"`)
	check("a setter in the Kptfile that was not rendered yet", inlined, own, inlined.and(files{"svc.yaml": service("82")}),
		nil, files{"svc.yaml": "targetPort: 82 #", "Kptfile": `"9090"`}, nil)
	const targetPort = "svc.yaml:spec.ports[port=80,protocol=TCP].targetPort"
	check("edited by hand beside a setter in the Kptfile that was not rendered yet", inlined, own.edited(t, "svc.yaml", "targetPort: 81", "targetPort: 7"), inlined.and(files{"svc.yaml": service("82")}),
		[]string{targetPort}, files{"svc.yaml": "targetPort: 7 #"}, nil)
	check("pinned by taking the setter out of the Kptfile", inlined, own.edited(t, "Kptfile", `{tp: "9090"}`, `{other: "1"}`), inlined.and(files{"svc.yaml": service("82")}),
		[]string{targetPort}, files{"svc.yaml": "targetPort: 81 #"}, nil)
	check("pinned by taking the step out of the Kptfile", inlined, own.and(files{"Kptfile": kptfileWith("")}), inlined.and(files{"svc.yaml": service("82")}),
		[]string{targetPort}, files{"svc.yaml": "targetPort: 81 #"}, nil)
	route := func(port string) string {
		return "apiVersion: example.com/v1\nkind: Route\nmetadata:\n  name: r\nspec:\n  ports:\n  - port: 80\n    targetPort: " + port + " # kpt-set: ${tp}\n"
	}
	crd := "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata:\n  name: routes.example.com\nspec:\n  group: example.com\n  names: {kind: Route}\n  versions:\n  - name: v1\n" +
		"    schema: {openAPIV3Schema: {properties: {spec: {properties: {ports: {x-kubernetes-list-map-keys: [port]}}}}}}\n"
	routed := svc.and(files{"svc.yaml": route("80"), "crd.yaml": crd})
	own = made(t, routed).edited(t, "setters.yaml", `"80"`, `"9090"`).edited(t, "svc.yaml", "  ports:\n", inserted)
	check("an item put before one that is known by the keys of its definition", routed, made(t, own), routed.and(files{"svc.yaml": route("81")}),
		nil, files{"svc.yaml": inserted + "  - port: 80\n    targetPort: 81 # kpt-set"}, nil)
	for name, metadata := range map[string]string{"a comment": "metadata: # note\n", "an anchor": "metadata: &m\n"} {
		noted := files{"Kptfile": kptfileWith(setNamespace + applySetters), "setters.yaml": configMap("setters", "  color: green\n"),
			"cm.yaml": "apiVersion: v1\nkind: ConfigMap\n" + metadata + "  name: cm\n  namespace: default\ndata:\n  color: red # kpt-set: ${color}\n  size: small\n"}
		check("a namespace that rendering changed, beside "+name, noted, made(t, noted), noted.edited(t, "cm.yaml", "small", "big").edited(t, "cm.yaml", "red", "blue"),
			nil, files{"cm.yaml": "namespace: prod\n"}, files{"cm.yaml": "default\ndata:"})
		plain := noted.and(files{"Kptfile": kptfileWith("")})
		check("a namespace changed by hand, beside "+name, plain, made(t, plain).edited(t, "cm.yaml", "namespace: default", "namespace: ours"), plain.edited(t, "cm.yaml", "small", "big"),
			nil, files{"cm.yaml": "namespace: ours\n"}, files{"cm.yaml": "small"})
		check("pinned by taking the setter's comment out, beside "+name, noted, made(t, noted).edited(t, "cm.yaml", "green # kpt-set: ${color}", "green"), noted.edited(t, "cm.yaml", "red", "blue"),
			[]string{"cm.yaml:data.color"}, files{"cm.yaml": "color: green\n"}, files{"cm.yaml": "default\ndata:"})
	}

	const replacements = "  - image: apply-replacements:v0.1.1\n    configPath: replacements.yaml\n"
	from := files{
		"Kptfile": kptfileWith(replacements),
		"replacements.yaml": "apiVersion: fn.kpt.dev/v1alpha1\nkind: ApplyReplacements\nmetadata:\n  name: r\n  annotations:\n    config.kubernetes.io/local-config: \"true\"\n" +
			"replacements:\n- source: {kind: ConfigMap, name: source, fieldPath: data.host}\n  targets:\n  - select: {kind: ConfigMap, name: cm}\n    fieldPaths: [data.color]\n",
		"source.yaml": configMap("source", "  host: a\n"),
		"cm.yaml":     configMap("cm", "  color: red\n"),
	}
	check("the source of a replacement", from, made(t, made(t, from).edited(t, "source.yaml", "host: a", "host: ours")), from.edited(t, "cm.yaml", "red", "blue"),
		nil, files{"cm.yaml": "color: blue", "source.yaml": "host: ours"}, nil)

	selects := files{
		"Kptfile": from["Kptfile"],
		"replacements.yaml": from["replacements.yaml"][:strings.Index(from["replacements.yaml"], "  targets:")] +
			"  targets:\n  - select: {kind: Deployment, name: web}\n    fieldPaths: [spec.template.spec.nodeSelector.tier]\n    options: {create: true}\n",
		"source.yaml": from["source.yaml"],
		"web.yaml":    "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: web\nspec:\n  template:\n    spec:\n      containers: []\n",
	}
	const selector = "      nodeSelector:\n        tier: "
	check("a key added to a mapping that rendering made", selects, made(t, selects).edited(t, "web.yaml", selector+"a\n", selector+"a\n        zone: x\n"),
		selects.edited(t, "web.yaml", "      containers", selector+"q\n      containers"),
		nil, files{"web.yaml": "tier: q\n        zone: x\n"}, nil)
	check("a key edited in a mapping that rendering made", selects, made(t, selects).edited(t, "web.yaml", selector+"a\n", selector+"b\n        zone: x\n"),
		selects.edited(t, "web.yaml", "      containers", selector+"q\n      containers"),
		[]string{"web.yaml:spec.template.spec.nodeSelector.tier"}, files{"web.yaml": "tier: b\n        zone: x\n"}, nil)

	const prefix = "  - image: ensure-name-substring:v0.2.0\n    configMap: {prepend: prod-}\n"
	named := base.and(files{"Kptfile": kptfileWith(prefix + setNamespace), "old.yaml": configMap("old", "  a: b\n"), "setters.yaml": ""})
	v2 = named.edited(t, "cm.yaml", "red", "blue").and(files{"old.yaml": ""})
	check("names that a function changed, and a deletion", named, made(t, named).edited(t, "cm.yaml", "red", "green"), v2,
		[]string{color}, files{"cm.yaml": "name: prod-cm"}, files{"old.yaml": "kind"})

	generator := "  - image: starlark:v0.5.0\n    configPath: gen.yaml\n"
	gen := func(color string) string {
		return "apiVersion: fn.kpt.dev/v1alpha1\nkind: StarlarkRun\nmetadata:\n  name: gen\n  annotations:\n    config.kubernetes.io/local-config: \"true\"\nsource: |\n" +
			"  r = ctx.resource_list[\"items\"]\n" +
			"  keep = [x for x in r if x[\"metadata\"][\"name\"] not in [\"made\", \"gone\"]]\n" +
			"  keep.append({\"apiVersion\": \"v1\", \"kind\": \"ConfigMap\", \"metadata\": {\"name\": \"made\", \"annotations\": {\"internal.config.kubernetes.io/path\": \"made.yaml\", \"config.kubernetes.io/path\": \"made.yaml\"}}, \"data\": {\"color\": \"" + color + "\"}})\n" +
			"  ctx.resource_list[\"items\"] = keep\n"
	}
	makes := files{"Kptfile": kptfileWith(generator), "gen.yaml": gen("red"), "gone.yaml": configMap("gone", "  a: b\n"), "cm.yaml": configMap("cm", "  color: red\n")}
	v2 = makes.edited(t, "gone.yaml", "a: b", "a: c").and(files{"made.yaml": configMap("made", "  color: blue\n")})
	check("what is generated and deleted", makes, made(t, makes), v2, nil, nil, nil)
	check("generated, then edited", makes, made(t, makes).edited(t, "made.yaml", "red", "ours"), v2,
		[]string{"made.yaml:data.color"}, files{"made.yaml": "ours"}, nil)

	grows := files{"Kptfile": kptfileWith(generator), "cm.yaml": configMap("cm", "  color: red\n"), "gen.yaml": strings.Replace(gen(""), gen("")[strings.Index(gen(""), "  r ="):],
		"  for r in ctx.resource_list[\"items\"]:\n    if r[\"metadata\"][\"name\"] == \"cm\":\n      r[\"data\"][\"color\"] += \"x\"\n", 1)}
	once := made(t, grows)
	v2 = grows.edited(t, "cm.yaml", "red", "blue")
	check("a function that adds each time, once", grows, once, v2, nil, files{"cm.yaml": "color: blue"}, nil)
	check("a function that adds each time, twice", grows, made(t, once), v2, []string{color}, files{"cm.yaml": "color: redxx"}, nil)

	fails := base.and(files{"Kptfile": kptfileWith(setNamespace + "  - image: example.com/none:v1\n")})
	check("a function that isn't there", fails, made(t, base).and(files{"Kptfile": fails["Kptfile"]}).edited(t, "cm.yaml", "red", "green"), fails.edited(t, "cm.yaml", "red", "blue").edited(t, "web.yaml", "replicas: 1", "replicas: 5"),
		[]string{color, "web.yaml:spec.replicas"}, nil, nil)

	within := func(strategy string) string {
		return kptfileWith("") + "upstream:\n  type: git\n  updateStrategy: " + strategy + "\n  git: {repo: r, directory: d, ref: v1}\n"
	}
	nested := files{"Kptfile": kptfileWith(setNamespace), "db/Kptfile": within("fast-forward"), "db/cm.yaml": configMap("cm", "  color: red\n"),
		"mq/Kptfile": within("resource-merge"), "mq/cm.yaml": configMap("cm", "  color: red\n"), "mq/old.yaml": configMap("old", "  color: red\n"),
		"own/Kptfile": within("resource-merge"), "own/cm.yaml": configMap("cm", "  color: red\n")}
	v2 = nested.edited(t, "db/cm.yaml", "red", "blue").edited(t, "mq/cm.yaml", "red", "blue").edited(t, "own/cm.yaml", "red", "blue").and(files{"mq/old.yaml": ""})
	check("packages within", nested, made(t, nested).edited(t, "own/cm.yaml", "red", "ours"), v2,
		[]string{"own/cm.yaml:data.color"}, files{"db/cm.yaml": "color: blue", "mq/cm.yaml": "color: blue", "own/cm.yaml": "color: ours"}, files{"mq/old.yaml": "kind"})
	_, err := unrendering().Merge(t.Context(), tree(t, nested), tree(t, made(t, nested).edited(t, "db/cm.yaml", "red", "ours")), tree(t, v2), merge.Options{Root: true, Nested: true})
	require.ErrorContains(t, err, "db: fast-forward: changed locally since it was cloned: db/cm.yaml; undo that")
}

// A strategy that takes files as a whole says which ones somebody changed: not
// those that rendering wrote, be it from what was changed.
func TestMergeRenderedFiles(t *testing.T) {
	setters := files{
		"Kptfile":      kptfileWith(setNamespace + applySetters),
		"setters.yaml": configMap("setters", "  replicas: \"3\"\n"),
		"cm.yaml":      configMap("cm", "  color: red\n"),
		"web.yaml":     "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: web\nspec:\n  replicas: 1 # kpt-set: ${replicas}\n",
	}
	replacements := files{
		"Kptfile": kptfileWith("  - image: apply-replacements:v0.1.1\n    configPath: replacements.yaml\n"),
		"replacements.yaml": "apiVersion: fn.kpt.dev/v1alpha1\nkind: ApplyReplacements\nmetadata:\n  name: r\n  annotations:\n    config.kubernetes.io/local-config: \"true\"\n" +
			"replacements:\n- source: {kind: ConfigMap, name: source, fieldPath: data.host}\n  targets:\n  - select: {kind: ConfigMap, name: cm}\n    fieldPaths: [data.color]\n",
		"source.yaml": configMap("source", "  host: a\n"),
		"cm.yaml":     configMap("cm", "  color: red\n"),
	}
	for _, tc := range []struct {
		name  string
		base  files
		local func(files) files // what was done to the rendered package
		want  []string
	}{
		{"only rendered", setters, func(f files) files { return f }, nil},
		{"a setter", setters, func(f files) files { return made(t, f.edited(t, "setters.yaml", `"3"`, `"4"`)) }, []string{"setters.yaml"}},
		{"a setter that wasn't rendered yet", setters, func(f files) files { return f.edited(t, "setters.yaml", `"3"`, `"4"`) }, []string{"setters.yaml"}},
		{"a setter, and another file", setters, func(f files) files {
			return made(t, f.edited(t, "setters.yaml", `"3"`, `"4"`).edited(t, "cm.yaml", "red", "green"))
		}, []string{"cm.yaml", "setters.yaml"}},
		{"what a setter wrote", setters, func(f files) files { return f.edited(t, "web.yaml", "replicas: 3", "replicas: 7") }, []string{"web.yaml"}},
		{"the source of a replacement", replacements, func(f files) files { return made(t, f.edited(t, "source.yaml", "host: a", "host: b")) }, []string{"source.yaml"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			base, local := tree(t, tc.base), tree(t, tc.local(made(t, tc.base)))
			v2 := tc.base.and(files{})
			for name, text := range v2 {
				if name != "Kptfile" {
					v2[name] = text + "# v2\n"
				}
			}
			res, err := unrendering().Merge(t.Context(), base, local, tree(t, v2), merge.Options{Strategy: merge.CopyMerge, Root: true})
			require.NoError(t, err)
			assert.Equal(t, tc.want, places(res.Conflicts, true))
			for name, want := range v2 {
				if name != "Kptfile" {
					assert.Equal(t, want, text(t, res.Tree)[name])
				}
			}
			_, err = unrendering().Merge(t.Context(), base, local, tree(t, v2), merge.Options{Strategy: merge.FastForward, Root: true})
			if tc.want == nil {
				require.NoError(t, err)
				return
			}
			require.EqualError(t, err, "fast-forward: changed locally since it was cloned: "+strings.Join(tc.want, ", ")+"; undo that, or use another strategy, such as resource-merge")
		})
	}
}

// A setter that is settled by name is no conflict about what was rendered from it;
// and what was settled against the usual says nothing else.
func TestMergeRenderedResolve(t *testing.T) {
	base := files{
		"Kptfile":      kptfileWith(applySetters),
		"setters.yaml": configMap("setters", "  replicas: \"3\"\n"),
		"web.yaml":     "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: web\nspec:\n  replicas: 3 # kpt-set: ${replicas}\n",
	}
	mine := made(t, made(t, base).edited(t, "setters.yaml", `"3"`, `"7"`))
	require.Contains(t, mine["web.yaml"], "replicas: 7")
	v2 := base.edited(t, "setters.yaml", `"3"`, `"5"`).edited(t, "web.yaml", "replicas: 3", "replicas: 5")
	const setter = "setters.yaml:data.replicas"
	for side, value := range map[merge.Side]string{merge.Local: `"7"`, merge.Upstream: `"5"`} {
		res, err := unrendering().Merge(t.Context(), tree(t, base), tree(t, mine), tree(t, v2), merge.Options{Root: true, Resolve: merge.Resolutions{setter: side}})
		require.NoError(t, err)
		assert.Equal(t, []string{setter}, places(res.Conflicts, false))
		got := text(t, res.Tree)
		assert.Contains(t, got["setters.yaml"], "replicas: "+value)
		assert.Contains(t, got["web.yaml"], "replicas: 5")
		if side == merge.Upstream {
			assert.Equal(t, "changed differently on both sides", res.Conflicts[0].Reason)
		}
	}
	res, err := unrendering().Merge(t.Context(), tree(t, base), tree(t, mine), tree(t, v2), merge.Options{
		Root: true, Strategy: merge.CopyMerge, Resolve: merge.Resolutions{"setters.yaml": merge.Local}})
	require.NoError(t, err)
	assert.Equal(t, []string{"setters.yaml"}, places(res.Conflicts, false))
	assert.Equal(t, "changed differently on both sides", res.Conflicts[0].Reason)
	assert.Equal(t, mine["setters.yaml"], text(t, res.Tree)["setters.yaml"])
}

// Whatever is edited on both sides: a value of one's own stays or is shown, and
// one that only rendering wrote is neither.
func TestMergeRenderedProperties(t *testing.T) {
	fields := []string{"a", "b", "c"}
	value := func(field string) *regexp.Regexp { return regexp.MustCompile(`(\n  ` + field + `: )\S+`) }
	for seed := range uint64(30) {
		r := rand.New(rand.NewPCG(seed, 1))
		base := files{"Kptfile": kptfileWith(setNamespace + applySetters), "setters.yaml": configMap("setters", "  setter: \"1\"\n")}
		for i := range 6 {
			base[fmt.Sprintf("%d.yaml", i)] = configMap(fmt.Sprint("cm", i), "  a: base\n  b: base # kpt-set: ${setter}\n  c: base\n")
		}
		local, v2 := made(t, base), base
		type edit struct{ file, field string }
		mine, theirs := map[edit]bool{}, map[edit]bool{}
		for range 8 {
			e := edit{fmt.Sprintf("%d.yaml", r.IntN(6)), fields[r.IntN(3)]}
			if !mine[e] {
				mine[e], local = true, local.and(files{e.file: value(e.field).ReplaceAllString(local[e.file], "${1}mine")})
			}
			e = edit{fmt.Sprintf("%d.yaml", r.IntN(6)), fields[r.IntN(3)]}
			if !theirs[e] {
				theirs[e], v2 = true, v2.and(files{e.file: value(e.field).ReplaceAllString(v2[e.file], "${1}theirs")})
			}
		}
		var want []string
		for e := range mine {
			if theirs[e] {
				want = append(want, e.file+":data."+e.field)
			}
		}
		for _, policy := range []merge.Policy{merge.TakeLocal, merge.TakeUpstream} {
			res, err := unrendering().Merge(t.Context(), tree(t, base), tree(t, local), tree(t, v2), merge.Options{Root: true, OnConflict: policy})
			require.NoError(t, err)
			require.ElementsMatch(t, want, places(res.Conflicts, false), "seed %d", seed)
			got := text(t, res.Tree)
			for i := range 6 {
				name := fmt.Sprintf("%d.yaml", i)
				require.Contains(t, got[name], "namespace: prod")
				for _, f := range fields {
					value := "base"
					if f == "b" {
						value = "[\"1]+"
					}
					e := edit{name, f}
					switch {
					case mine[e] && !(theirs[e] && policy == merge.TakeUpstream):
						value = "mine"
					case theirs[e]:
						value = "theirs"
					}
					require.Regexp(t, f+": "+value, got[name], "seed %d, %s", seed, name)
				}
			}
		}
	}
}

// BenchmarkMergeRendered is a merge of a rendered clone of 1,000 resources, a
// tenth of which changed upstream, the same place as rendering did.
func BenchmarkMergeRendered(b *testing.B) {
	all := func(replicas, image string) files {
		f := files{"Kptfile": kptfileWith(setNamespace + applySetters), "setters.yaml": configMap("setters", "  replicas: \"3\"\n")}
		for i := range 1000 {
			r, v := "1", "v1"
			if i%10 == 0 {
				r, v = replicas, image
			}
			f[fmt.Sprintf("d%d.yaml", i)] = fmt.Sprintf("apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: d%d\nspec:\n  replicas: %s # kpt-set: ${replicas}\n  template:\n    spec:\n      containers:\n      - name: main\n        image: main:%s\n", i, r, v)
		}
		return f
	}
	for name, replicas := range map[string]string{"uncontested": "1", "contested": "2"} {
		b.Run(name, func(b *testing.B) {
			base, v2 := all("1", "v1"), all(replicas, "v2")
			local := made(b, base)
			for b.Loop() {
				_, err := unrendering().Merge(b.Context(), tree(b, base), tree(b, local), tree(b, v2), merge.Options{Root: true, Nested: true})
				require.NoError(b, err)
			}
		})
	}
}
