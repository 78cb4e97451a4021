package stories

import (
	"context"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
)

// patience is how long a story waits for one condition. It is generous because the
// machine may be building something; what is fast is measured by benchmarks.
const patience = 5 * time.Minute

// kubectlPatience is the same for commands that wait themselves.
const kubectlPatience = "--timeout=5m"

// probe is what containers' probes have in common here: kubelet's second for an answer,
// and three misses, would end containers on a machine that is busy.
const probe = "periodSeconds: 1, timeoutSeconds: 30"

// namespace makes a namespace of this story in a tenant, with its default
// ServiceAccount, and deletes it in the end.
func namespace(t *testing.T, tenant *Tenant, prefix string) string {
	t.Helper()
	made, err := tenant.Client.CoreV1().Namespaces().Create(t.Context(),
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: prefix + "-"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatalf("create a namespace in tenant %s: %v", tenant.Name, err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_ = tenant.Client.CoreV1().Namespaces().Delete(ctx, made.Name, metav1.DeleteOptions{})
	})
	eventually(t, "the default ServiceAccount of "+made.Name, func(ctx context.Context) (bool, string) {
		_, err := tenant.Client.CoreV1().ServiceAccounts(made.Name).Get(ctx, "default", metav1.GetOptions{})
		return err == nil, errText(err)
	})
	return made.Name
}

// eventually polls a condition; what it saw last is in the failure.
func eventually(t *testing.T, what string, condition func(ctx context.Context) (done bool, saw string)) {
	t.Helper()
	saw := ""
	err := wait.PollUntilContextTimeout(t.Context(), 100*time.Millisecond, patience, true, func(ctx context.Context) (bool, error) {
		done, now := condition(ctx)
		if ctx.Err() == nil || saw == "" { // the last look is cut short by the deadline, and saw nothing
			saw = now
		}
		return done, nil
	})
	if err != nil {
		t.Fatalf("waited for %s: %v; last seen: %s", what, err, saw)
	}
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
