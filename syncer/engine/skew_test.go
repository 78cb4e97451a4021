package engine

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"nestling.dev/nestling/syncer/resource"
)

// discovery is a server of which only the version and the documents are there.
type discovery struct {
	minor     atomic.Value // string
	fields    atomic.Value // of a ConfigMap, as JSON
	documents atomic.Int64 // how often they were read
}

func (d *discovery) start(t *testing.T) *rest.Config {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		fields := d.fields.Load().(string)
		switch request.URL.Path {
		case "/version":
			_ = json.NewEncoder(w).Encode(map[string]string{"major": "1", "minor": d.minor.Load().(string), "gitVersion": "v1." + d.minor.Load().(string) + ".0"})
		case "/openapi/v3":
			fmt.Fprintf(w, `{"paths":{"api/v1":{"serverRelativeURL":"/openapi/v3/api/v1?hash=%d"}}}`, len(fields))
		case "/openapi/v3/api/v1":
			d.documents.Add(1)
			fmt.Fprintf(w, `{"components":{"schemas":{"C":{"type":"object","x-kubernetes-group-version-kind":[{"group":"","version":"v1","kind":"ConfigMap"}],"properties":%s}}}}`, fields)
		default:
			http.NotFound(w, request)
		}
	}))
	t.Cleanup(server.Close)
	return &rest.Config{Host: server.URL}
}

func newDiscovery(minor, fields string) *discovery {
	d := &discovery{}
	d.minor.Store(minor)
	d.fields.Store(fields)
	return d
}

const (
	oldFields = `{"metadata":{"type":"object"},"data":{"type":"object","additionalProperties":{"type":"string"}}}`
	newFields = `{"metadata":{"type":"object"},"data":{"type":"object","additionalProperties":{"type":"string"}},"immutable":{"type":"boolean"},"binaryData":{"type":"object","additionalProperties":{"type":"string"}}}`
)

func configMapKind() resource.Kind {
	return resource.Spec[*corev1.ConfigMap]{
		Resource: corev1.SchemeGroupVersion.WithResource("configmaps"), Kind: "ConfigMap", Namespaced: true,
		New:    func() *corev1.ConfigMap { return &corev1.ConfigMap{} },
		ToHost: func(_ resource.Env, virtual *corev1.ConfigMap) (*corev1.ConfigMap, error) { return virtual, nil },
	}.Erase()
}

func TestSkewFollowsTheHost(t *testing.T) {
	t.Parallel()
	virtual, host := newDiscovery("36", newFields), newDiscovery("34+", oldFields)
	kind := &syncedKind{Kind: configMapKind()}
	s, err := newSkew(virtual.start(t), host.start(t), func() []*syncedKind { return []*syncedKind{kind} })
	require.NoError(t, err)
	object := &corev1.ConfigMap{Data: map[string]string{"a": "b"}, Immutable: new(true)}
	translated := func() *corev1.ConfigMap {
		out, err := s.wrap(kind.Kind).ToHost(resource.Env{}, object)
		require.NoError(t, err)
		return out.(*corev1.ConfigMap)
	}
	require.Same(t, object, translated(), "before the host is known, all of it goes")

	require.NoError(t, s.look(t.Context()))
	require.Equal(t, []string{"immutable"}, s.pruner(kind.Kind).Find(object))
	require.Nil(t, translated().Immutable)
	require.Equal(t, object.Data, translated().Data)
	require.NoError(t, s.look(t.Context()))
	require.EqualValues(t, 1, host.documents.Load(), "a document whose hash is known is not read again")

	host.fields.Store(newFields) // a patch of the host, of the same minor version
	require.NoError(t, s.look(t.Context()))
	require.Same(t, object, translated())
	require.EqualValues(t, 2, host.documents.Load())

	host.fields.Store(oldFields)
	require.NoError(t, s.look(t.Context()))
	require.NotSame(t, object, translated())
	host.minor.Store("36")
	require.NoError(t, s.look(t.Context()))
	require.Same(t, object, translated(), "a host that is not older knows everything")
	read := host.documents.Load()
	host.minor.Store("37")
	require.NoError(t, s.look(t.Context()))
	require.Equal(t, read, host.documents.Load(), "and its documents are not even read")
	host.minor.Store("35")
	require.NoError(t, s.look(t.Context()))
	require.NotSame(t, object, translated(), "it was rolled back")
}

func TestNotes(t *testing.T) {
	t.Parallel()
	now := time.Now()
	n := notes{keep: time.Minute}
	require.False(t, n.Is("a", []byte("x"), now))
	n.Note("a", []byte("x"), now)
	require.True(t, n.Is("a", []byte("x"), now))
	require.False(t, n.Is("a", []byte("y"), now))
	require.False(t, n.Is("b", []byte("x"), now))
	require.False(t, n.Is("a", []byte("x"), now.Add(time.Hour)), "it is tried again")
	for i := range 3 * notesMost {
		n.Note(fmt.Sprint(i), nil, now)
	}
	require.LessOrEqual(t, len(n.entries), notesMost)
	n.Clear()
	require.Empty(t, n.entries)
}

func TestSameButCounters(t *testing.T) {
	t.Parallel()
	object := func(version string, generation int64, data string) *corev1.ConfigMap {
		return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{UID: "u", ResourceVersion: version, Generation: generation}, Data: map[string]string{"a": data}}
	}
	require.True(t, sameButCounters(object("1", 1, "x"), object("1", 1, "x")))
	require.True(t, sameButCounters(object("2", 2, "x"), object("1", 1, "x")), "a change that was counted and dropped")
	require.False(t, sameButCounters(object("2", 2, "y"), object("1", 1, "x")))
}

func TestReplaceWhole(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"in hosts, hosts/x and \"hosts\"": "in mine, mine/x and \"mine\"",
		"system:serviceaccount:hosts:a":   "system:serviceaccount:mine:a",
		"hostshosts my-hosts hosts-2":     "hostshosts my-hosts hosts-2",
		"hosts":                           "mine",
		"":                                "",
	} {
		require.Equal(t, want, replaceWhole(text, "hosts", "mine"), text)
	}
	require.Equal(t, "a", replaceWhole("a", "", "b"))
}
