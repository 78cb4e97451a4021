package deploy

import (
	"crypto/sha256"
	"encoding/hex"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

const (
	dataVolume   = "data"
	configVolume = "config"
	// ConfigHashAnnotation makes a changed ConfigMap a changed pod.
	ConfigHashAnnotation = "nestling.dev/config-hash"
)

// statefulSet is the whole control plane. Its pod runs under Pod Security "restricted": any user but root, read-only
// root file system, no capabilities.
func statefulSet(o Options, file []byte) *appsv1.StatefulSet {
	set := &appsv1.StatefulSet{
		TypeMeta: kind(appsv1.SchemeGroupVersion.String(), "StatefulSet"), ObjectMeta: o.meta(o.Tenant),
		Spec: appsv1.StatefulSetSpec{
			Replicas:    to(int32(1)),
			ServiceName: o.names().Headless(),
			// Ordered management would never replace a pod that does not become ready, not even by a mended template.
			PodManagementPolicy: appsv1.ParallelPodManagement,
			Selector:            &metav1.LabelSelector{MatchLabels: map[string]string{ControlPlaneLabel: o.Tenant}},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: o.labels(), Annotations: map[string]string{ConfigHashAnnotation: hash(file)}},
				Spec:       podSpec(o),
			},
		},
	}
	if !o.Ephemeral {
		set.Spec.VolumeClaimTemplates = []corev1.PersistentVolumeClaim{claim(o)}
		set.Spec.PersistentVolumeClaimRetentionPolicy = &appsv1.StatefulSetPersistentVolumeClaimRetentionPolicy{
			WhenDeleted: appsv1.DeletePersistentVolumeClaimRetentionPolicyType,
			WhenScaled:  appsv1.RetainPersistentVolumeClaimRetentionPolicyType, // scaling to 0 is a pause
		}
		if o.KeepVolume {
			set.Spec.PersistentVolumeClaimRetentionPolicy.WhenDeleted = appsv1.RetainPersistentVolumeClaimRetentionPolicyType
		}
	}
	return set
}

func podSpec(o Options) corev1.PodSpec {
	spec := corev1.PodSpec{
		ServiceAccountName: o.Tenant,
		// The process stops in order within 10 s.
		TerminationGracePeriodSeconds: to(int64(15)),
		// Variables of every Service in the namespace, other tenants' among them, are none of the process's business.
		EnableServiceLinks: to(false),
		SecurityContext: &corev1.PodSecurityContext{
			RunAsNonRoot:   to(true), // no runAsUser: the image's is numeric, and any other works too
			SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
		},
		Containers: []corev1.Container{container(o)},
		Volumes: []corev1.Volume{{Name: configVolume, VolumeSource: corev1.VolumeSource{
			ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: o.names().Config()}},
		}}},
	}
	secrets, mounts := secretVolumes(o)
	spec.Volumes = append(spec.Volumes, secrets...)
	spec.Containers[0].VolumeMounts = append(spec.Containers[0].VolumeMounts, mounts...)
	if o.Ephemeral {
		spec.Volumes = append(spec.Volumes, corev1.Volume{Name: dataVolume, VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}})
	} else if o.FSGroup != nil { // an emptyDir is open to everybody as it is
		onMismatch := corev1.FSGroupChangeOnRootMismatch
		spec.SecurityContext.FSGroup = o.FSGroup
		spec.SecurityContext.FSGroupChangePolicy = &onMismatch
	}
	return spec
}

func container(o Options) corev1.Container {
	return corev1.Container{
		Name:            "nestling",
		Image:           o.Image,
		ImagePullPolicy: corev1.PullIfNotPresent,
		Args:            []string{"serve", "--config=" + ConfigDir + "/" + ConfigKey},
		Env: []corev1.EnvVar{
			{Name: "NESTLING_TENANT", Value: o.Tenant},
			fromField("POD_NAME", "metadata.name"),
			fromField("POD_NAMESPACE", "metadata.namespace"),
			fromField("POD_UID", "metadata.uid"),
			fromField("POD_IP", "status.podIP"),
		},
		Ports: []corev1.ContainerPort{
			{Name: "https", ContainerPort: Port, Protocol: corev1.ProtocolTCP},
			{Name: "dns", ContainerPort: DNSPort, Protocol: corev1.ProtocolUDP},
			{Name: "dns-tcp", ContainerPort: DNSPort, Protocol: corev1.ProtocolTCP},
		},
		Resources: o.Resources,
		// The control plane is up in 3 s; the first start of a minute-long recovery must not be cut off.
		StartupProbe: probe("/livez", 1, 180),
		// A slow disk is no reason to restart: only a process that says nothing for a minute is.
		LivenessProbe:  probe("/livez", 10, 6),
		ReadinessProbe: probe("/readyz", 1, 3),
		VolumeMounts: []corev1.VolumeMount{
			{Name: dataVolume, MountPath: DataDir},
			{Name: configVolume, MountPath: ConfigDir, ReadOnly: true},
		},
		SecurityContext: &corev1.SecurityContext{
			AllowPrivilegeEscalation: to(false),
			ReadOnlyRootFilesystem:   to(true),
			Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		},
		TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError, // `kubectl describe` shows the one line
	}
}

// probe asks every period, in seconds, and gives up after so many failures in a row.
func probe(path string, period, failures int32) *corev1.Probe {
	return &corev1.Probe{
		ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{
			Path: path, Port: intstr.FromString("https"), Scheme: corev1.URISchemeHTTPS,
		}},
		PeriodSeconds: period, FailureThreshold: failures, TimeoutSeconds: 5, SuccessThreshold: 1,
	}
}

func claim(o Options) corev1.PersistentVolumeClaim {
	claim := corev1.PersistentVolumeClaim{
		TypeMeta:   kind("v1", "PersistentVolumeClaim"),
		ObjectMeta: metav1.ObjectMeta{Name: dataVolume, Labels: o.labels()},
		Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: o.StorageSize}},
		},
	}
	if o.StorageClass != "" {
		claim.Spec.StorageClassName = &o.StorageClass
	}
	return claim
}

func fromField(name, path string) corev1.EnvVar {
	return corev1.EnvVar{Name: name, ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: path}}}
}

// hash is short: it needs to differ, not to prove anything.
func hash(file []byte) string {
	sum := sha256.Sum256(file)
	return hex.EncodeToString(sum[:8])
}

func to[T any](value T) *T { return &value }
