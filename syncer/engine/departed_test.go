package engine

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func podNamed(name string) *corev1.Pod { return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}} }

func TestWhatDepartedIsRememberedForAWhile(t *testing.T) {
	t.Parallel()
	var d departed
	start := time.Unix(0, 0)
	d.Add(podNamed("virtual"), podNamed("host"), start)
	virtual, host := d.Get("host", start.Add(departedFor))
	require.Equal(t, "virtual", virtual.GetName())
	require.Equal(t, "host", host.GetName())
	_, host = d.Get("host", start.Add(departedFor+1))
	require.Nil(t, host)
	_, host = d.Get("never", start)
	require.Nil(t, host)
}

func TestWhatDepartedIsBounded(t *testing.T) {
	t.Parallel()
	var d departed
	now := time.Unix(0, 0)
	for i := range 2 * departedMost {
		d.Add(nil, podNamed(fmt.Sprint(i)), now)
	}
	require.Len(t, d.entries, departedMost)
	require.Len(t, d.order, departedMost)
	d.Add(nil, podNamed("late"), now.Add(2*departedFor))
	require.Len(t, d.entries, 1)
}
