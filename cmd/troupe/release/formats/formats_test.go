// Package formats holds the files of a release against the programs that read
// them: Kubernetes' own types, Compose's own loader, Prometheus' own parser. It is
// a module of its own, since the server needs none of them.
package formats

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/prometheus/prometheus/promql/parser"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

// Every object is one that Kubernetes has, with no field that it has not.
func TestKubernetesKnowsEveryField(t *testing.T) {
	file, err := os.Open("../kubernetes.yaml")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var deployment *appsv1.Deployment
	var service *corev1.Service
	claims := map[string]bool{}
	for documents := utilyaml.NewYAMLReader(bufio.NewReader(file)); ; {
		text, err := documents.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		switch o := decode(t, text).(type) {
		case *appsv1.Deployment:
			deployment = o
		case *corev1.Service:
			service = o
		case *corev1.PersistentVolumeClaim:
			claims[o.Name] = true
		}
	}
	if deployment == nil || service == nil {
		t.Fatal("there is no deployment, or no service")
	}
	checkDeployment(t, deployment, claims)
	for name, value := range service.Spec.Selector {
		if deployment.Spec.Template.Labels[name] != value {
			t.Errorf("the service looks for %s=%s", name, value)
		}
	}
}

// decode makes an object of one document, and takes nothing that its type does
// not have.
func decode(t *testing.T, text []byte) any {
	t.Helper()
	var kind metav1.TypeMeta
	if err := yaml.Unmarshal(text, &kind); err != nil {
		t.Fatal(err)
	}
	object := map[string]any{
		"apps/v1 Deployment":       &appsv1.Deployment{},
		"v1 Service":               &corev1.Service{},
		"v1 PersistentVolumeClaim": &corev1.PersistentVolumeClaim{},
	}[kind.APIVersion+" "+kind.Kind]
	if object == nil {
		t.Fatalf("no kind to decode %s %s into", kind.APIVersion, kind.Kind)
	}
	if err := yaml.UnmarshalStrict(text, object); err != nil {
		t.Errorf("%s: %v", kind.Kind, err)
	}
	return object
}

// checkDeployment follows names within the object, which its types do not.
func checkDeployment(t *testing.T, deployment *appsv1.Deployment, claims map[string]bool) {
	t.Helper()
	for name, value := range deployment.Spec.Selector.MatchLabels {
		if deployment.Spec.Template.Labels[name] != value {
			t.Errorf("the deployment looks for %s=%s", name, value)
		}
	}
	pod := deployment.Spec.Template.Spec
	volumes := map[string]bool{}
	for _, v := range pod.Volumes {
		volumes[v.Name] = true
		if c := v.PersistentVolumeClaim; c != nil && !claims[c.ClaimName] {
			t.Errorf("volume %s claims %s, which is not there", v.Name, c.ClaimName)
		}
	}
	for _, c := range pod.Containers {
		ports := map[string]bool{}
		for _, p := range c.Ports {
			ports[p.Name] = true
		}
		for _, m := range c.VolumeMounts {
			if !volumes[m.Name] {
				t.Errorf("%s mounts %s, which is not there", c.Name, m.Name)
			}
		}
		for _, probe := range []*corev1.Probe{c.StartupProbe, c.LivenessProbe, c.ReadinessProbe} {
			if probe == nil || probe.HTTPGet == nil || !ports[probe.HTTPGet.Port.StrVal] {
				t.Errorf("%s: a probe asks no port: %v", c.Name, probe)
			}
		}
	}
}

// Compose loads its file: all fields are known, all configurations and volumes
// there, and what it builds from are files that release.sh makes or the
// repository has.
func TestComposeLoads(t *testing.T) {
	options, err := cli.NewProjectOptions([]string{"../compose.yaml"}, cli.WithName("troupe"))
	if err != nil {
		t.Fatal(err)
	}
	project, err := options.LoadProject(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for _, service := range []string{"troupe", "prometheus", "grafana"} {
		if _, err := project.GetService(service); err != nil {
			t.Error(err)
		}
	}
	build := project.Services["troupe"].Build
	root, err := filepath.Abs("../../../..")
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(root, "dist", "linux-amd64"); build.Context != want {
		t.Errorf("it builds from %s, want %s", build.Context, want)
	}
	files := []string{filepath.Join(build.Context, build.Dockerfile)}
	for _, c := range project.Configs {
		if c.File != "" {
			files = append(files, c.File)
		}
	}
	for _, file := range files {
		if _, err := os.Stat(file); err != nil {
			t.Error(err)
		}
	}
}

// Prometheus reads what the dashboard asks it.
func TestDashboardIsPromQL(t *testing.T) {
	text, err := os.ReadFile("../../../../http/grafana.json")
	if err != nil {
		t.Fatal(err)
	}
	var board struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(text, &board); err != nil {
		t.Fatal(err)
	}
	asked := 0
	for _, p := range board.Panels {
		for _, target := range p.Targets {
			expr := strings.NewReplacer("$instance", ".*", "$__rate_interval", "1m").Replace(target.Expr)
			if _, err := parser.ParseExpr(expr); err != nil {
				t.Errorf("panel %q: %s: %v", p.Title, target.Expr, err)
			}
			asked++
		}
	}
	if asked < 20 {
		t.Errorf("the dashboard asks for %d things", asked)
	}
}
