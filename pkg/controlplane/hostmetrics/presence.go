package hostmetrics

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
	"k8s.io/metrics/pkg/apis/metrics/v1beta1"
)

// presenceInterval is how long it takes until a metrics API that the host gets, or loses, is
// heard of.
const presenceInterval = 30 * time.Second

// Follow tells, at once and from time to time until ctx ends, whether the host has a metrics
// API. A host that does not say so, or whose API is just down, is left alone.
func Follow(ctx context.Context, host *rest.Config, tell func(present bool)) error {
	client, err := discovery.NewDiscoveryClientForConfig(host)
	if err != nil {
		return fmt.Errorf("client of the host's discovery: %w", err)
	}
	document := "/apis/" + v1beta1.SchemeGroupVersion.String()
	wait.JitterUntilWithContext(ctx, func(ctx context.Context) {
		asking, cancel := context.WithTimeout(ctx, readTimeout)
		defer cancel()
		switch err := client.RESTClient().Get().AbsPath(document).Do(asking).Error(); {
		case err == nil:
			tell(true)
		case apierrors.IsNotFound(err):
			tell(false)
		}
	}, presenceInterval, 0.1, true)
	return nil
}
