package kubeletapi

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// hostOptions are the options of the host's subresource that say what the kubelet
// API's query says. tunnel tells that a port-forward carries its ports inside of the
// stream. Parameters that the API server never sends are dropped.
func hostOptions(asked route, query url.Values, tunnel bool) (runtime.Object, error) {
	switch asked.action {
	case actionLogs:
		return logOptions(asked.container, query)
	case actionExec:
		streams, err := parseStreams(query)
		return &corev1.PodExecOptions{
			Container: asked.container, Command: query["command"],
			Stdin: streams.stdin, Stdout: streams.stdout, Stderr: streams.stderr, TTY: streams.tty,
		}, err
	case actionAttach:
		streams, err := parseStreams(query)
		return &corev1.PodAttachOptions{
			Container: asked.container,
			Stdin:     streams.stdin, Stdout: streams.stdout, Stderr: streams.stderr, TTY: streams.tty,
		}, err
	default:
		return portForwardOptions(query, tunnel)
	}
}

func logOptions(container string, query url.Values) (*corev1.PodLogOptions, error) {
	options := &corev1.PodLogOptions{Container: container}
	err := errors.Join(
		parse(query, "follow", strconv.ParseBool, func(value bool) { options.Follow = value }),
		parse(query, "previous", strconv.ParseBool, func(value bool) { options.Previous = value }),
		parse(query, "timestamps", strconv.ParseBool, func(value bool) { options.Timestamps = value }),
		parse(query, "sinceSeconds", parseInt, func(value int64) { options.SinceSeconds = &value }),
		parse(query, "tailLines", parseInt, func(value int64) { options.TailLines = &value }),
		parse(query, "limitBytes", parseInt, func(value int64) { options.LimitBytes = &value }),
		parse(query, "sinceTime", parseTime, func(value time.Time) { options.SinceTime = &metav1.Time{Time: value} }),
		parse(query, "stream", parseStream, func(value string) {
			// "All" is what a host does that is asked for nothing; older hosts do not
			// know the parameter.
			if value != corev1.LogStreamAll {
				options.Stream = &value
			}
		}),
	)
	return options, err
}

// streams are kubelet's names for what the API calls stdin, stdout, stderr and tty.
type streams struct{ stdin, stdout, stderr, tty bool }

func parseStreams(query url.Values) (streams, error) {
	is := func(key string) bool { return query.Get(key) == "1" } // the only value that kubelet knows
	found := streams{stdin: is("input"), stdout: is("output"), stderr: is("error"), tty: is("tty")}
	if !found.stdin && !found.stdout && !found.stderr {
		return found, errors.New("you must specify at least 1 of stdin, stdout, stderr")
	}
	return found, nil
}

// portForwardOptions reads the ports, which only a WebSocket without a tunnel needs
// in its query; several are one list with commas.
func portForwardOptions(query url.Values, tunnel bool) (*corev1.PodPortForwardOptions, error) {
	options := &corev1.PodPortForwardOptions{}
	if tunnel {
		return options, nil
	}
	for _, list := range query["port"] {
		for text := range strings.SplitSeq(list, ",") {
			port, err := strconv.ParseUint(text, 10, 16)
			if err != nil || port == 0 {
				return nil, fmt.Errorf("unable to parse %q as a port", text)
			}
			options.Ports = append(options.Ports, int32(port))
		}
	}
	if len(options.Ports) == 0 {
		return nil, errors.New(`query parameter "port" is required`)
	}
	return options, nil
}

// parse reads the parameter key, if it is there, and hands it to set.
func parse[T any](query url.Values, key string, read func(string) (T, error), set func(T)) error {
	if !query.Has(key) {
		return nil
	}
	value, err := read(query.Get(key))
	if err != nil {
		return fmt.Errorf("unable to parse %s: %q", key, query.Get(key))
	}
	set(value)
	return nil
}

func parseInt(text string) (int64, error) { return strconv.ParseInt(text, 10, 64) }

func parseTime(text string) (time.Time, error) { return time.Parse(time.RFC3339, text) }

func parseStream(text string) (string, error) {
	switch text {
	case corev1.LogStreamAll, corev1.LogStreamStdout, corev1.LogStreamStderr:
		return text, nil
	}
	return "", errors.New("no stream")
}
