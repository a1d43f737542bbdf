package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const (
	fleetSize   = 1000 // packages
	fleetSample = 20   // of them that kpt makes
	fleetOther  = 500  // the package that gets another value in the end
)

// fleet: a plan that clones 1,000 packages from one upstream, sets three setters
// in each and renders it, beside kpt in a shell loop; then the finished plan
// again, as it is and with one value changed.
func (b *bench) fleet() error {
	repo, err := b.makeUpstream()
	if err != nil {
		return err
	}
	fresh := filepath.Join(b.dir, "fleet")
	if err := writeFleet(fresh, repo); err != nil {
		return err
	}
	args := []string{"run", "--allow-file-repos=" + repo}
	var finished string
	all, err := b.measure(fresh, func(dir string) error {
		finished = dir
		return checkFleet(fleetSize)(dir)
	}, b.stoop, args...)
	if err != nil {
		return err
	}
	b.table.cost(fmt.Sprintf("stoop run, %d packages", fleetSize), all)

	same, err := b.measure(finished, sameAs(finished), b.stoop, args...)
	if err != nil {
		return err
	}
	b.table.cost("stoop run again, nothing changed", same)
	changed := filepath.Join(b.dir, "fleet-changed")
	if err := changeFleet(changed, finished); err != nil {
		return err
	}
	again, err := b.measure(changed, fleetChanged(finished), b.stoop, args...)
	if err != nil {
		return err
	}
	b.table.cost("stoop run again, one value changed", again)
	b.table.atMost("one value changed against the full run, CPU", 100*ratio(again.cpu, all.cpu), 5, "%")
	b.table.atMost("one value changed against the full run, wall", 100*ratio(again.wall, all.wall), 5, "%")
	if b.kpt == "" {
		return nil
	}

	empty := filepath.Join(b.dir, "fleet-kpt")
	if err := os.Mkdir(empty, 0o777); err != nil {
		return err
	}
	theirs, err := b.measure(empty, checkFleet(fleetSample), "sh", "-euc", fmt.Sprintf(kptLoop, b.kpt, repo, fleetSample-1), "loop")
	if err != nil {
		return err
	}
	b.table.cost(fmt.Sprintf("kpt pkg get and fn render in a loop, %d packages", fleetSample), theirs)
	per := func(c cost, n int) time.Duration { return c.cpu / time.Duration(n) }
	b.table.atLeast("kpt against stoop run, CPU of one package", ratio(per(theirs, fleetSample), per(all, fleetSize)), 50, "x")
	return nil
}

// kptLoop makes packages below its first argument with kpt %[1]s from the
// repository %[2]s, the last one being number %[3]d.
const kptLoop = `
cd "$1"
export KPT_CACHE_DIR="$1/cache"
for i in $(seq 0 %[3]d); do
	p=$(printf p%%04d $i)
	%[1]s pkg get "file://%[2]s/app-kpt@v1" $p
	sed -i -e "s/name: example/name: shop-$p/" -e 's/env: dev/env: prod/' -e 's/replicas: "1"/replicas: "3"/' $p/Kptfile
	%[1]s fn render --allow-exec $p
done`

// makeUpstream makes the git repository that the fleet comes from. Its package has
// seven files, as half of the published kpt packages have at most, and 9 KB. It is there
// twice: app for stoop, whose plan runs apply-setters, and app-kpt,
// which runs it in its own pipeline, with the functions as executables.
func (b *bench) makeUpstream() (string, error) {
	repo := filepath.Join(b.dir, "upstream.git") // kpt splits its argument there
	exec := func(f string) string { return "exec: " + b.krmfn + " " + f }
	setters := "  - " + exec("apply-setters:v0.2.0") + `
    configMap:
      name: example
      env: dev
      replicas: "1"
`
	for dir, mutators := range map[string]string{
		"app":     "  - " + image("set-labels:v0.2.0") + "\n    configMap:\n      team: data\n",
		"app-kpt": setters + "  - " + exec("set-labels:v0.2.0") + "\n    configMap:\n      team: data\n",
	} {
		if err := os.MkdirAll(filepath.Join(repo, dir), 0o777); err != nil {
			return "", err
		}
		for name, text := range map[string]string{
			"Kptfile":  "apiVersion: kpt.dev/v1\nkind: Kptfile\nmetadata:\n  name: app\npipeline:\n  mutators:\n" + mutators,
			"app.yaml": fleetApp, "service.yaml": fleetService, "README.md": "# An app\n",
			"worker.yaml": fleetWorkload("worker", 3),
			"jobs.yaml":   fleetWorkload("jobs", 2) + "---\n" + fleetWorkload("cron", 1),
			"rbac.yaml":   fleetRole("app") + "---\n" + fleetRole("worker"),
		} {
			if err := os.WriteFile(filepath.Join(repo, dir, name), []byte(text), 0o666); err != nil {
				return "", err
			}
		}
	}
	for _, args := range [][]string{{"init", "-q"}, {"add", "."}, {"commit", "-q", "-m", "app"}, {"tag", "v1"}} {
		if err := git(repo, args...); err != nil {
			return "", err
		}
	}
	return repo, nil
}

func git(dir string, args ...string) error {
	cmd := exec.Command("git", append([]string{"-C", dir, "-c", "user.name=bench", "-c", "user.email=bench@example.com"}, args...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", cmd, err, out)
	}
	return nil
}

const fleetApp = `# the app and what it reads
apiVersion: apps/v1
kind: Deployment
metadata:
  name: example # kpt-set: ${name}
  labels:
    env: dev # kpt-set: ${env}
spec:
  replicas: 1 # kpt-set: ${replicas}
  selector:
    matchLabels:
      app: example # kpt-set: ${name}
  template:
    metadata:
      labels:
        app: example # kpt-set: ${name}
    spec:
      containers:
      - name: main
        image: example.com/app:v1
        env:
        - name: STAGE
          value: dev # kpt-set: ${env}
        resources:
          requests:
            cpu: 100m
            memory: 64Mi
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: example # kpt-set: ${name}
data:
  url: https://dev.example.com # kpt-set: https://${env}.example.com
`

const fleetService = `apiVersion: v1
kind: Service
metadata:
  name: example # kpt-set: ${name}
spec:
  selector:
    app: example # kpt-set: ${name}
  ports:
  - port: 80
    targetPort: 8080
`

// fleetWorkload is a Deployment of some containers, 1 to 3 KB.
func fleetWorkload(name string, containers int) string {
	var b strings.Builder
	fmt.Fprintf(&b, `apiVersion: apps/v1
kind: Deployment
metadata:
  name: %[1]s # kpt-set: ${name}-%[1]s
  labels:
    env: dev # kpt-set: ${env}
spec:
  replicas: 1 # kpt-set: ${replicas}
  selector:
    matchLabels:
      app: %[1]s
  template:
    metadata:
      labels:
        app: %[1]s
    spec:
      containers:
`, name)
	for i := range containers {
		fmt.Fprintf(&b, `      - name: c%[2]d
        image: registry.example.com/%[1]s/c%[2]d:v1.2.3
        args:
        - --listen=:80%[2]d0
        - --log-level=info
        env:
        - name: POD_NAME
          valueFrom:
            fieldRef:
              fieldPath: metadata.name
        - name: REGION
          value: eu
        ports:
        - name: http
          containerPort: 80%[2]d0
        livenessProbe:
          httpGet:
            path: /healthz
            port: http
          initialDelaySeconds: 10
        resources:
          requests:
            cpu: 100m
            memory: 64Mi
          limits:
            cpu: 500m
            memory: 256Mi
        volumeMounts:
        - name: config
          mountPath: /etc/%[1]s
`, name, i)
	}
	fmt.Fprintf(&b, `      volumes:
      - name: config
        configMap:
          name: %s
`, name)
	return b.String()
}

// fleetRole is a Role with a dozen rules, 1.3 KB.
func fleetRole(name string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata:\n  name: %s\nrules:\n", name)
	for i := range 12 {
		fmt.Fprintf(&b, "- apiGroups: [\"\"]\n  resources:\n  - configmaps\n  - secrets\n  - kind%d\n  verbs:\n  - get\n  - list\n  - watch\n", i)
	}
	return b.String()
}

// writeFleet writes a directory with the plan of a fleet.
func writeFleet(dir, repo string) error {
	var b strings.Builder
	b.WriteString(`apiVersion: stoop.dev/v1alpha1
kind: Plan
metadata:
  name: fleet
  annotations:
    config.kubernetes.io/local-config: "true"
spec:
  params:
    env: prod
    replicas:
`)
	for i := range fleetSize {
		fmt.Fprintf(&b, "      p%04d: 3\n", i)
	}
	b.WriteString("  tasks:\n")
	for i := range fleetSize {
		fmt.Fprintf(&b, `  - name: clone-p%04[1]d
    type: clone
    target: p%04[1]d
    clone:
      upstreamRef:
        git:
          repo: %[2]s
          ref: v1
          directory: app
  - name: set-p%04[1]d
    type: eval
    target: p%04[1]d
    needs:
    - clone-p%04[1]d
    eval:
      image: apply-setters:v0.2.0
    inputs:
      name: shop-p%04[1]d
      env: "{{plan.params.env}}"
      replicas: "{{plan.params.replicas.p%04[1]d}}"
  - name: render-p%04[1]d
    type: render
    target: p%04[1]d
    needs:
    - set-p%04[1]d
`, i, repo)
	}
	if err := os.Mkdir(dir, 0o777); err != nil {
		return err
	}
	kptfile := "apiVersion: kpt.dev/v1\nkind: Kptfile\nmetadata:\n  name: fleet\n"
	return errors.Join(os.WriteFile(filepath.Join(dir, "Kptfile"), []byte(kptfile), 0o666),
		os.WriteFile(filepath.Join(dir, "plan.yaml"), []byte(b.String()), 0o666))
}

// checkFleet checks that packages were made, with the values and labels they
// were to get.
func checkFleet(packages int) func(dir string) error {
	return func(dir string) error {
		for i := range packages {
			name := fmt.Sprintf("p%04d", i)
			text, err := os.ReadFile(filepath.Join(dir, name, "app.yaml"))
			if err != nil {
				return err
			}
			for _, want := range []string{"name: shop-" + name + " #", "replicas: 3 #", "https://prod.example.com #", "team: data\n"} {
				if !bytes.Contains(text, []byte(want)) {
					return fmt.Errorf("%s/app.yaml has no %q", name, want)
				}
			}
		}
		return nil
	}
}

// changeFleet copies a finished fleet and changes one of its plan's params.
func changeFleet(to, from string) error {
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		return err
	}
	plan := filepath.Join(to, "plan.yaml")
	text, err := os.ReadFile(plan)
	if err != nil {
		return err
	}
	text = bytes.Replace(text, fmt.Appendf(nil, "p%04d: 3\n", fleetOther), fmt.Appendf(nil, "p%04d: 5\n", fleetOther), 1)
	return os.WriteFile(plan, text, 0o666)
}

// fleetChanged checks that of a finished fleet one package became another one.
func fleetChanged(was string) func(dir string) error {
	return func(dir string) error {
		var changed []string
		err := eachFile(dir, func(rel string, content []byte) error {
			before, err := os.ReadFile(filepath.Join(was, rel))
			if err == nil && !bytes.Equal(before, content) {
				changed = append(changed, filepath.ToSlash(rel))
			}
			return err
		})
		name := fmt.Sprintf("p%04d/", fleetOther)
		want := []string{name + "app.yaml", name + "jobs.yaml", name + "worker.yaml", "plan.yaml"}
		if err == nil && !slices.Equal(changed, want) {
			err = fmt.Errorf("changed are %q, not %q", changed, want)
		}
		return err
	}
}
