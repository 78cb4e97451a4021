package resources

import (
	"strings"

	corev1 "k8s.io/api/core/v1"

	"nestling.dev/nestling/syncer/resource"
)

// hiddenSecret stands where the API wants the name of a Secret, or of endpoints, and the host's is not told.
const hiddenSecret = "hidden"

// volumeText takes out of a host volume what is not its tenant's to know: references to
// Secrets with the storage system's credentials, and the host's names of the claim.
type volumeText struct {
	env       resource.Env
	hostClaim string
	claim     *corev1.ObjectReference // virtual
}

// translate puts the virtual claim's names in the place of the host's, as provisioners
// build them into paths and handles. Host names carry a hash; the namespace, an ordinary
// word, is replaced only beside one.
func (t volumeText) translate(text string) string {
	if !strings.Contains(text, t.hostClaim) {
		return text
	}
	var pairs []string
	for _, separator := range []string{"/", "_", "-", "."} {
		pairs = append(pairs,
			t.env.HostNamespace+separator+t.hostClaim, t.claim.Namespace+separator+t.claim.Name,
			t.hostClaim+separator+t.env.HostNamespace, t.claim.Name+separator+t.claim.Namespace)
	}
	return strings.NewReplacer(append(pairs, t.hostClaim, t.claim.Name)...).Replace(text)
}

// source changes a copy of the host's.
func (t volumeText) source(source *corev1.PersistentVolumeSource) {
	for _, text := range sourceText(source) {
		*text = t.translate(*text)
	}
	if csi := source.CSI; csi != nil {
		csi.ControllerPublishSecretRef, csi.NodeStageSecretRef, csi.NodePublishSecretRef = nil, nil, nil
		csi.ControllerExpandSecretRef, csi.NodeExpandSecretRef = nil, nil
		for key, value := range csi.VolumeAttributes {
			switch key {
			case "csi.storage.k8s.io/pvc/name":
				value = t.claim.Name
			case "csi.storage.k8s.io/pvc/namespace":
				value = t.claim.Namespace
			}
			if namesSecret(key) {
				delete(csi.VolumeAttributes, key)
				continue
			}
			csi.VolumeAttributes[key] = t.translate(value)
		}
	}
	if flex := source.FlexVolume; flex != nil {
		for key, value := range flex.Options {
			flex.Options[key] = t.translate(value)
		}
	}
	hideSecrets(source)
}

// sourceText is where provisioners of filesystems write paths of their own making.
func sourceText(source *corev1.PersistentVolumeSource) []*string {
	var out []*string
	if source.HostPath != nil {
		out = append(out, &source.HostPath.Path)
	}
	if source.Local != nil {
		out = append(out, &source.Local.Path)
	}
	if source.NFS != nil {
		out = append(out, &source.NFS.Path)
	}
	if source.CSI != nil {
		out = append(out, &source.CSI.VolumeHandle)
	}
	return out
}

// hideSecrets takes the Secrets out of the sources of the time before CSI.
func hideSecrets(source *corev1.PersistentVolumeSource) {
	if source.AzureFile != nil {
		source.AzureFile.SecretName, source.AzureFile.SecretNamespace = hiddenSecret, nil
	}
	if source.CephFS != nil {
		source.CephFS.SecretRef, source.CephFS.SecretFile = nil, ""
	}
	if source.Cinder != nil {
		source.Cinder.SecretRef = nil
	}
	if source.FlexVolume != nil {
		source.FlexVolume.SecretRef = nil
	}
	if source.Glusterfs != nil {
		source.Glusterfs.EndpointsName, source.Glusterfs.EndpointsNamespace = hiddenSecret, nil
	}
	if source.ISCSI != nil {
		// Without CHAP, since it would need the Secret.
		source.ISCSI.SecretRef, source.ISCSI.DiscoveryCHAPAuth, source.ISCSI.SessionCHAPAuth = nil, false, false
	}
	if source.RBD != nil {
		source.RBD.SecretRef = nil
	}
	if source.ScaleIO != nil {
		source.ScaleIO.SecretRef = &corev1.SecretReference{Name: hiddenSecret}
	}
	if source.StorageOS != nil {
		source.StorageOS.SecretRef, source.StorageOS.VolumeNamespace = nil, ""
	}
}

// namesSecret reports whether a parameter of a class or a volume says where credentials
// are, or holds one (rest authentication of the time before CSI).
func namesSecret(parameter string) bool {
	key := strings.ToLower(parameter)
	for _, word := range []string{"secret", "password", "credential", "restuserkey"} {
		if strings.Contains(key, word) {
			return true
		}
	}
	return false
}
