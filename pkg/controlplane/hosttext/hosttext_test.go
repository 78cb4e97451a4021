package hosttext_test

import (
	"errors"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"nestling.dev/nestling/pkg/controlplane/hosttext"
)

func TestReplace(t *testing.T) {
	t.Parallel()
	names := hosttext.Names{
		{Host: "team", Virtual: "default"},
		{Host: "t-default-web-0-abc", Virtual: "web-0"},
		{Host: "x.team", Virtual: "x"},
	}
	for name, test := range map[string]struct{ host, virtual string }{
		"quoted":                      {`pods "t-default-web-0-abc" not found`, `pods "web-0" not found`},
		"kubelet's full name":         {`container "c" not found in pod "t-default-web-0-abc_team"`, `container "c" not found in pod "web-0_default"`},
		"in a path":                   {`lstat /var/log/pods/team_t-default-web-0-abc_1234/c/0.log`, `lstat /var/log/pods/default_web-0_1234/c/0.log`},
		"in a DNS name":               {`svc.team.svc.cluster.local`, `svc.default.svc.cluster.local`},
		"at the end of a sentence":    {`in namespace team.`, `in namespace default.`},
		"part of a longer name stays": {`teams of a-team, team-a and t-default-web-0-abcd`, `teams of a-team, team-a and t-default-web-0-abcd`},
		"the longest name wins":       {`x.team`, `x`},
		"nothing to replace":          {`exec failed`, `exec failed`},
		"empty":                       {``, ``},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, test.virtual, names.Replace(test.host))
		})
	}
}

func TestReplacedNamesAreNotReplacedAgain(t *testing.T) {
	t.Parallel()
	names := hosttext.Names{{Host: "a", Virtual: "b"}, {Host: "b", Virtual: "a"}, {Host: "same", Virtual: "same"}, {}}
	require.Equal(t, "b a same", names.Replace("a b same"))
}

func TestParseStatus(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		body string
		want metav1.Status
	}{
		"a Status": {
			`{"kind":"Status","apiVersion":"v1","status":"Failure","message":"no","reason":"NotFound","code":404}`,
			metav1.Status{TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: "Failure", Message: "no", Reason: "NotFound", Code: 404},
		},
		"text":            {"container not running\n", metav1.Status{Status: "Failure", Message: "container not running", Code: 400}},
		"nothing":         {"", metav1.Status{Status: "Failure", Message: "the host answered 400 Bad Request", Code: 400}},
		"JSON, no Status": {`{"kind":"Pod"}`, metav1.Status{Status: "Failure", Message: `{"kind":"Pod"}`, Code: 400}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Empty(t, cmp.Diff(test.want, hosttext.ParseStatus(http.StatusBadRequest, []byte(test.body))))
		})
	}
}

func TestError(t *testing.T) {
	t.Parallel()
	services := schema.GroupResource{Resource: "services"}
	names := hosttext.Names{{Host: "t-web", Virtual: "web"}, {Host: "hosts", Virtual: "default"}}
	for name, test := range map[string]struct {
		host    error
		message string
		reason  metav1.StatusReason
	}{
		"quota keeps reason and message": {
			apierrors.NewForbidden(services, "t-web", errors.New("exceeded quota: q, requested: services=1, used: services=5, limited: services=5")),
			`services "web" is forbidden: exceeded quota: q, requested: services=1, used: services=5, limited: services=5`,
			metav1.StatusReasonForbidden,
		},
		"our own missing rights are not the user's": {
			apierrors.NewForbidden(services, "t-web", errors.New(`User "system:serviceaccount:hosts:t" cannot create resource "services" in API group "" in the namespace "hosts"`)),
			`Internal error occurred: this cluster's own account may not create services on the host cluster; whoever runs it must grant that`,
			metav1.StatusReasonInternalError,
		},
		"our own bad credentials are not the user's": {
			apierrors.NewUnauthorized("Unauthorized"),
			`Internal error occurred: the host cluster does not accept this cluster's own credentials; whoever runs it must renew them`,
			metav1.StatusReasonInternalError,
		},
		"no answer": {
			errors.New("dial tcp 10.0.0.1:443: connect: connection refused"), hosttext.Unreachable, metav1.StatusReasonServiceUnavailable,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := names.Error(test.host)
			require.EqualError(t, err, test.message)
			require.Equal(t, test.reason, apierrors.ReasonForError(err))
		})
	}
	require.NoError(t, names.Error(nil))
}
