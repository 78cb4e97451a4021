package hostclient

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// Now is the host API server's clock, to a second. It is one clock for everybody who agrees with others on a moment,
// such as when a tenant ends; a proxy may leave it out, and then it is ours.
func Now(ctx context.Context, host *rest.Config) (time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	client, err := rest.HTTPClientFor(host)
	if err != nil {
		return time.Time{}, fmt.Errorf("host client: %w", err)
	}
	typed, err := kubernetes.NewForConfigAndClient(host, client)
	if err != nil {
		return time.Time{}, fmt.Errorf("host client: %w", err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, typed.RESTClient().Get().AbsPath("/version").URL().String(), nil)
	if err != nil {
		return time.Time{}, fmt.Errorf("ask for the time: %w", err)
	}
	response, err := client.Do(request)
	if err != nil {
		return time.Time{}, Answer(host.Host, "ask for the time", err)
	}
	defer response.Body.Close()
	if now, err := http.ParseTime(response.Header.Get("Date")); err == nil {
		return now, nil
	}
	return time.Now(), nil
}
