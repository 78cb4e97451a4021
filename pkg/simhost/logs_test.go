package simhost

import (
	"bytes"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestLogs(t *testing.T) {
	t.Parallel()
	start := past.Time
	for name, test := range map[string]struct {
		query url.Values
		want  string
	}{
		"all":                       {url.Values{}, "tick 0 of c\ntick 1 of c\ntick 2 of c\n"},
		"tail":                      {url.Values{"tailLines": {"1"}}, "tick 2 of c\n"},
		"no tail":                   {url.Values{"tailLines": {"0"}}, ""},
		"since":                     {url.Values{"sinceTime": {start.Add(time.Second).Format(time.RFC3339)}}, "tick 1 of c\ntick 2 of c\n"},
		"limit":                     {url.Values{"limitBytes": {"6"}}, "tick 0"},
		"timestamps":                {url.Values{"timestamps": {"true"}, "tailLines": {"1"}}, "2026-01-01T00:00:02Z tick 2 of c\n"},
		"follow an ended container": {url.Values{"follow": {"true"}, "tailLines": {"1"}}, "tick 2 of c\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			query, err := parseLogQuery(test.query)
			require.NoError(t, err)
			var out bytes.Buffer
			require.NoError(t, query.write(t.Context(), &out, "c", start, start.Add(2*time.Second)))
			if diff := cmp.Diff(test.want, out.String()); diff != "" {
				t.Errorf("log (-want +got):\n%s", diff)
			}
		})
	}
}

func TestBadLogQueries(t *testing.T) {
	t.Parallel()
	for name, value := range map[string]string{"follow": "perhaps", "tailLines": "-1", "sinceTime": "noon"} {
		_, err := parseLogQuery(url.Values{name: {value}})
		require.ErrorContains(t, err, name+": ")
	}
}

func TestPlayer(t *testing.T) {
	t.Parallel()
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "pod"},
		Spec: corev1.PodSpec{
			Hostname:   "virtual",
			Containers: []corev1.Container{{Name: "c", Env: []corev1.EnvVar{{Name: "A", Value: "1"}}}},
		},
	}
	for name, test := range map[string]struct {
		command     []string
		in          string
		out, errOut string
		code        int
	}{
		"hostname":    {command: []string{"hostname"}, out: "virtual\n"},
		"path":        {command: []string{"/bin/echo", "a", "b"}, out: "a b\n"},
		"stdin":       {command: []string{"cat"}, in: "text", out: "text"},
		"environment": {command: []string{"env"}, out: "HOSTNAME=virtual\nA=1\n"},
		"exit code":   {command: []string{"sh", "-c", "echo a; exit 7; echo b"}, out: "a\n", code: 7},
		"shell":       {command: []string{"sh"}, in: "hostname\nfalse\n", out: "virtual\n", code: 1},
		"not found":   {command: []string{"curl"}, errOut: "curl: not found: this container is simulated\n", code: 127},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out, errOut bytes.Buffer
			code := player{pod}.run(t.Context(), "c", test.command, strings.NewReader(test.in), &out, &errOut)
			require.Equal(t, test.code, code)
			require.Equal(t, test.out, out.String())
			require.Equal(t, test.errOut, errOut.String())
		})
	}
}
