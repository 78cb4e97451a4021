// Package apply turns an action into the bytes that are sent: pure, so that what is
// written can be tested without a server.
package apply

import (
	"encoding/json"
	"fmt"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/jsonmergepatch"
	"k8s.io/apimachinery/pkg/util/strategicpatch"

	"nestling.dev/nestling/syncer/resource"
)

// Type is the content type of a kind's patches.
func Type(kind resource.Kind) types.PatchType {
	if whole(kind) {
		return types.MergePatchType
	}
	return types.StrategicMergePatchType
}

// whole kinds have their lists written whole: there is nothing to tell elements apart by,
// or it is ambiguous.
func whole(kind resource.Kind) bool { return kind.Atomic || kind.Custom }

// Patch is the patch, of the kind's Type, that brings live to want and nothing else, on
// the condition that the object is still the one that was observed: it carries the
// UID, which the server refuses to change. It is nil if there is nothing to write.
//
// Both objects come from one cache entry, so whatever the server knows and this
// process does not (fields of a newer Kubernetes) is in neither and stays untouched.
func Patch(kind resource.Kind, live, want resource.Object) ([]byte, error) {
	before, err := json.Marshal(live)
	if err != nil {
		return nil, fmt.Errorf("encode live %T %s: %w", live, resource.KeyOf(live), err)
	}
	after, err := json.Marshal(want)
	if err != nil {
		return nil, fmt.Errorf("encode wanted %T %s: %w", want, resource.KeyOf(want), err)
	}
	var patch []byte
	if whole(kind) {
		patch, err = jsonmergepatch.CreateThreeWayJSONMergePatch(before, after, before)
	} else {
		patch, err = strategicpatch.CreateTwoWayMergePatch(before, after, want)
	}
	if err != nil {
		return nil, fmt.Errorf("compare %T %s: %w", want, resource.KeyOf(want), err)
	}
	if string(patch) == "{}" {
		return nil, nil
	}
	var content map[string]any
	if err := json.Unmarshal(patch, &content); err != nil {
		return nil, fmt.Errorf("read patch of %T %s: %w", want, resource.KeyOf(want), err)
	}
	metadata, _ := content["metadata"].(map[string]any)
	if metadata == nil {
		metadata = map[string]any{}
		content["metadata"] = metadata
	}
	metadata["uid"] = string(live.GetUID())
	if version := live.GetResourceVersion(); kind.Atomic && version != "" {
		metadata["resourceVersion"] = version
	}
	return json.Marshal(content)
}
