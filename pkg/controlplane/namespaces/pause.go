package namespaces

import "time"

const (
	// firstLook and lastLook bound the time between two questions whether pods are left.
	firstLook, lastLook = 50 * time.Millisecond, 5 * time.Second
	// lookShare of the time waited so far passes until the next question.
	lookShare = 20
	// firstPass is how soon a pass follows one that left something but no pods: what a
	// finalizer holds is mostly let go at once.
	firstPass = 100 * time.Millisecond
	// firstPassBesidePods is how soon one follows though pods are left: only what could
	// not be deleted the last time is to be gained.
	firstPassBesidePods = 5 * time.Second
	// lastPass is how long a namespace is left alone at the most.
	lastPass = time.Minute
)

// pause is the time between two passes over a namespace that something is left in.
type pause struct {
	pods   bool      // were there when the last pass began
	passes int       // have ended, since pods are there or since there are none
	since  time.Time // the first of these passes ended
	last   time.Time // the last one ended
}

// after is the pause that follows a pass which left something. The pods were there when
// it began, or were not.
func (p pause) after(pods bool, now time.Time) pause {
	if p.passes == 0 || p.pods != pods {
		p = pause{pods: pods, since: now}
	}
	p.passes++
	p.last = now
	return p
}

// rest is how long to wait until the next look at the namespace; 0: a pass is due.
func (p pause) rest(podsLeft bool, now time.Time) time.Duration {
	if p.passes == 0 || p.pods && !podsLeft {
		return 0
	}
	first := firstPass
	if p.pods {
		first = firstPassBesidePods
	}
	pass := p.last.Add(grown(first, p.passes-1)).Sub(now)
	if pass <= 0 {
		return 0
	}
	if !p.pods {
		return pass
	}
	look := min(max(now.Sub(p.since)/lookShare, firstLook), lastLook)
	return min(look, pass)
}

// grown is first, doubled times times, and lastPass at the most.
func grown(first time.Duration, times int) time.Duration {
	for range times {
		if first *= 2; first >= lastPass {
			return lastPass
		}
	}
	return first
}
