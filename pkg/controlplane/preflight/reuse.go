package preflight

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"regexp"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	// reuseFor is how long a positive verdict serves the siblings of an object: long
	// enough for a burst, short enough for a policy that was just changed.
	reuseFor = 5 * time.Second
	// verdictsMost bounds how many are kept.
	verdictsMost = 64
)

// verdicts are what the host let pass a moment ago, by fingerprint, so that the hundred
// replicas of a ReplicaSet cost one question and not a hundred. A refusal serves nobody
// else: it names its object.
type verdicts struct {
	now func() time.Time

	mu      sync.Mutex
	entries map[string]*entry
}

type entry struct {
	done   chan struct{} // closed when answer is there
	answer answer
	until  time.Time
}

func newVerdicts(now func() time.Time) *verdicts {
	return &verdicts{now: now, entries: map[string]*entry{}}
}

// Get is a verdict that still holds, or that somebody is just asking for; else what ask
// says. An empty key has no others.
func (v *verdicts) Get(ctx context.Context, key string, ask func() answer) answer {
	if key == "" {
		return ask()
	}
	v.mu.Lock()
	current, ok := v.entries[key]
	if !ok || isDone(current) && v.now().After(current.until) {
		current = &entry{done: make(chan struct{})}
		v.makeRoom()
		v.entries[key] = current
		v.mu.Unlock()
		return v.fill(key, current, ask)
	}
	v.mu.Unlock()
	select {
	case <-current.done:
	case <-ctx.Done():
		return answer{outcome: untold}
	}
	if current.answer.outcome == passes {
		return current.answer
	}
	return ask()
}

func (v *verdicts) fill(key string, current *entry, ask func() answer) answer {
	answered := false
	defer func() { // also when ask panics: others wait
		v.mu.Lock()
		defer v.mu.Unlock()
		current.until = v.now().Add(reuseFor)
		if !answered || current.answer.outcome != passes {
			current.answer.outcome = max(current.answer.outcome, refused)
			if v.entries[key] == current {
				delete(v.entries, key)
			}
		}
		close(current.done)
	}()
	current.answer = ask()
	answered = true
	return current.answer
}

// makeRoom drops what has expired, and all if that is not enough.
func (v *verdicts) makeRoom() {
	if len(v.entries) < verdictsMost {
		return
	}
	now := v.now()
	for key, entry := range v.entries {
		if isDone(entry) && now.After(entry.until) {
			delete(v.entries, key)
		}
	}
	if len(v.entries) >= verdictsMost {
		clear(v.entries) // those who wait hold their entry
	}
}

func isDone(e *entry) bool {
	select {
	case <-e.done:
		return true
	default:
		return false
	}
}

// tokenVolume is the name that the tenant's ServiceAccount admission makes up for every
// pod.
var tokenVolume = regexp.MustCompile(`kube-api-access-[a-z0-9]{5}`)

// fingerprint is the same for siblings: pods of one namespace that are alike, and so are
// their translations. With one controller, or one generateName, they may differ in what
// follows from their names and UIDs.
func fingerprint(pod *corev1.Pod) string {
	family := pod.GenerateName
	if controller := metav1.GetControllerOf(pod); controller != nil {
		family = string(controller.UID)
	}
	text, err := json.Marshal([]any{pod.Labels, pod.Annotations, pod.Spec})
	if err != nil {
		return "" // cannot be: API types always have a JSON form
	}
	alike := tokenVolume.ReplaceAllLiteralString(string(text), "")
	if family != "" {
		own := []string{pod.Name, ""}
		if pod.UID != "" {
			own = append(own, string(pod.UID), "")
		}
		alike = strings.NewReplacer(own...).Replace(alike)
	}
	sum := sha256.Sum256([]byte(alike))
	return pod.Namespace + "/" + family + "/" + string(sum[:])
}
