package explanation

import (
	"context"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	genericapirequest "k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/rest"
)

// storage is what a resource needs to be read one by one.
type storage interface {
	rest.Storage
	rest.Scoper
	rest.SingularNameProvider
	rest.Getter
	rest.TableConvertor
}

var (
	_ storage = namespaced{}
	_ storage = cluster{}
)

// namespaced is the resource explanations.
type namespaced struct{ reader *reader }

func (namespaced) New() runtime.Object     { return &Explanation{} }
func (namespaced) Destroy()                {}
func (namespaced) NamespaceScoped() bool   { return true }
func (namespaced) GetSingularName() string { return "explanation" }

func (n namespaced) Get(ctx context.Context, name string, _ *metav1.GetOptions) (runtime.Object, error) {
	out, err := n.reader.read(ctx, genericapirequest.NamespaceValue(ctx), name)
	if err != nil {
		return nil, err
	}
	return out, nil
}

func (namespaced) ConvertToTable(_ context.Context, object, _ runtime.Object) (*metav1.Table, error) {
	return table(object)
}

// cluster is the resource clusterexplanations.
type cluster struct{ reader *reader }

func (cluster) New() runtime.Object     { return &ClusterExplanation{} }
func (cluster) Destroy()                {}
func (cluster) NamespaceScoped() bool   { return false }
func (cluster) GetSingularName() string { return "clusterexplanation" }

func (c cluster) Get(ctx context.Context, name string, _ *metav1.GetOptions) (runtime.Object, error) {
	out, err := c.reader.read(ctx, "", name)
	if err != nil {
		return nil, err
	}
	return &ClusterExplanation{Explanation: *out}, nil
}

func (cluster) ConvertToTable(_ context.Context, object, _ runtime.Object) (*metav1.Table, error) {
	return table(object)
}

func table(object runtime.Object) (*metav1.Table, error) {
	row := &Explanation{}
	switch object := object.(type) {
	case *Explanation:
		row = object
	case *ClusterExplanation:
		row = &object.Explanation
	default:
		return nil, fmt.Errorf("no table for %T", object)
	}
	host := ""
	if row.Host != nil {
		host = row.Host.Name
	}
	message := row.Message
	for _, stuck := range row.Stuck {
		message += "; " + stuck.Message
	}
	return &metav1.Table{
		ColumnDefinitions: []metav1.TableColumnDefinition{
			{Name: "Name", Type: "string", Format: "name"}, {Name: "State", Type: "string"}, {Name: "Host", Type: "string"}, {Name: "Message", Type: "string"},
		},
		Rows: []metav1.TableRow{{Cells: []any{row.ObjectMeta.Name, string(row.State), host, message}, Object: runtime.RawExtension{Object: object}}},
	}, nil
}
