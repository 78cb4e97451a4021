package podrules

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/google/cel-go/cel"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/version"
	apiservercel "k8s.io/apiserver/pkg/cel"
	"k8s.io/apiserver/pkg/cel/environment"
)

const (
	variablePod        = "pod"
	variableContainers = "containers"
	variableImages     = "images"
)

// compiler has two environments. One knows the types of a Pod, and finds misspelt fields;
// in the other, fields are found when a rule is asked, since pods come as plain JSON.
type compiler struct{ typed, plain *cel.Env }

func newCompiler() (*compiler, error) {
	types := typesOf{}
	pod, container := types.object(reflect.TypeFor[corev1.Pod]()), types.object(reflect.TypeFor[corev1.Container]())
	delete(pod.Fields, "status") // nobody's wish
	typed, err := environmentOf([]*apiservercel.DeclType{pod, container}, pod.CelType(), container.CelType())
	if err != nil {
		return nil, err
	}
	plain, err := environmentOf(nil, cel.DynType, cel.DynType)
	return &compiler{typed, plain}, err
}

// environmentOf is Kubernetes' environment, with its functions and limits, and our variables.
func environmentOf(types []*apiservercel.DeclType, pod, container *cel.Type) (*cel.Env, error) {
	base := environment.MustBaseEnvSet(environment.DefaultCompatibilityVersion())
	extended, err := base.Extend(environment.VersionedOptions{
		IntroducedVersion: version.MajorMinor(1, 0),
		DeclTypes:         types,
		EnvOptions: []cel.EnvOption{
			cel.Variable(variablePod, pod),
			cel.Variable(variableContainers, cel.ListType(container)),
			cel.Variable(variableImages, cel.ListType(cel.StringType)),
		},
	})
	if err != nil {
		return nil, fmt.Errorf("environment of expressions: %w", err)
	}
	return extended.NewExpressionsEnv(), nil
}

// compile returns what is wrong with an expression, if anything is.
func (c *compiler) compile(expression string) (program cel.Program, detail string) {
	switch {
	case strings.TrimSpace(expression) == "":
		return nil, "is required: it is true of a pod that may not run"
	case len(expression) > longestExpression:
		return nil, fmt.Sprintf("has %d bytes; at most %d are allowed", len(expression), longestExpression)
	}
	checked, issues := c.typed.Compile(expression)
	if detail := complaint(issues); detail != "" {
		return nil, detail
	}
	if checked.OutputType() != cel.BoolType {
		return nil, fmt.Sprintf("is a %s: want a bool, which is true of a pod that may not run", checked.OutputType())
	}
	plain, issues := c.plain.Compile(expression)
	if detail := complaint(issues); detail != "" {
		return nil, detail
	}
	program, err := c.plain.Program(plain)
	if err != nil {
		return nil, err.Error()
	}
	input, err := activation(plainPod())
	if err == nil {
		_, err = ask(program, input)
	}
	if err != nil {
		return nil, fmt.Sprintf("fails for a plain pod, and would refuse every one: %v; ask has(…) before what a pod need not have", err)
	}
	return program, ""
}

// complaint is the first of an expression's mistakes, in one line.
func complaint(issues *cel.Issues) string {
	if issues == nil || len(issues.Errors()) == 0 {
		return ""
	}
	first := issues.Errors()[0]
	return fmt.Sprintf("line %d, column %d: %s", first.Location.Line(), first.Location.Column()+1, first.Message)
}

// activation is what a rule knows of a pod.
func activation(pod *corev1.Pod) (map[string]any, error) {
	wanted := &corev1.Pod{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"}, ObjectMeta: pod.ObjectMeta, Spec: pod.Spec}
	wanted.ManagedFields = nil
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(wanted)
	if err != nil {
		return nil, err
	}
	delete(content, "status")
	spec, _ := content["spec"].(map[string]any)
	var containers, images []any
	for _, field := range []string{"initContainers", "containers", "ephemeralContainers"} {
		some, _ := spec[field].([]any)
		containers = append(containers, some...)
	}
	for _, container := range containers {
		if image, ok := container.(map[string]any)["image"]; ok {
			images = append(images, image)
		}
	}
	for _, volume := range pod.Spec.Volumes {
		if volume.Image != nil {
			images = append(images, volume.Image.Reference)
		}
	}
	return map[string]any{variablePod: content, variableContainers: orNone(containers), variableImages: orNone(images)}, nil
}

// orNone is an empty list instead of nil, which CEL takes for null.
func orNone(list []any) []any {
	if list == nil {
		return []any{}
	}
	return list
}

// plainPod has what every pod has once the API server has filled in its defaults.
func plainPod() *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "plain"},
		Spec: corev1.PodSpec{
			Containers: []corev1.Container{{
				Name: "main", Image: "example", ImagePullPolicy: corev1.PullAlways,
				TerminationMessagePath: corev1.TerminationMessagePathDefault, TerminationMessagePolicy: corev1.TerminationMessageReadFile,
			}},
			ServiceAccountName: "default", DeprecatedServiceAccount: "default", SchedulerName: corev1.DefaultSchedulerName,
			RestartPolicy: corev1.RestartPolicyAlways, DNSPolicy: corev1.DNSClusterFirst,
			TerminationGracePeriodSeconds: new(int64(30)), SecurityContext: &corev1.PodSecurityContext{}, EnableServiceLinks: new(true),
			Priority: new(int32(0)), PreemptionPolicy: new(corev1.PreemptLowerPriority),
		},
	}
}
