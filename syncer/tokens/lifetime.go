package tokens

import (
	"encoding/json"
	"hash/fnv"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"nestling.dev/nestling/syncer/resource"
)

// annotationLifetimes on the host Secret holds its tokens' lifetimes, by key.
const annotationLifetimes = resource.Prefix + "tokens"

const (
	// maxAge is how old a token may get, however long it lives: kubelet's own limit.
	maxAge = 24 * time.Hour
	// jitter is the largest part of the time until its renewal by which a token is renewed
	// early, so that pods that were made together do not come back together: 5 % of its
	// life where it is renewed at 80 %.
	jitter = 1.0 / 16
)

// lifetime of one token.
type lifetime struct {
	Issued  time.Time `json:"issued"`
	Expires time.Time `json:"expires"`
}

// granted is the lifetime that the API server gave, which may differ from what was
// asked of it.
func granted(answer *authenticationv1.TokenRequest, now time.Time) lifetime {
	out := lifetime{Issued: now.UTC(), Expires: answer.Status.ExpirationTimestamp.UTC()}
	if seconds := answer.Spec.ExpirationSeconds; seconds != nil && *seconds > 0 {
		out.Issued = out.Expires.Add(-time.Duration(*seconds) * time.Second)
	}
	return out
}

// renewal is when a token of pod is renewed: at the fraction at of its life, a little
// earlier for some pods than for others, the same after each restart.
func (l lifetime) renewal(at float64, pod types.UID) time.Time {
	due := min(time.Duration(float64(l.Expires.Sub(l.Issued))*at), maxAge)
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(pod)) // never fails
	early := jitter * float64(hash.Sum32()) / float64(1<<32)
	return l.Issued.Add(due - time.Duration(float64(due)*early))
}

// lifetimesOf reads what is written on a Secret. What cannot be read is as good as not
// there: the token is made anew.
func lifetimesOf(secret *corev1.Secret) map[string]lifetime {
	var out map[string]lifetime
	if json.Unmarshal([]byte(secret.Annotations[annotationLifetimes]), &out) != nil || out == nil {
		return map[string]lifetime{}
	}
	return out
}

func encodeLifetimes(lifetimes map[string]lifetime) string {
	data, err := json.Marshal(lifetimes)
	if err != nil {
		panic(err) // a time beyond the year 9999
	}
	return string(data)
}
