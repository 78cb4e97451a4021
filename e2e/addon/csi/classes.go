package csi

// classes are applied to the host; the words in capitals are replaced.
const classes = `
apiVersion: storage.k8s.io/v1
kind: CSIDriver
metadata: {name: DRIVER}
spec: {attachRequired: false, podInfoOnMount: true, fsGroupPolicy: File, storageCapacity: true, volumeLifecycleModes: [Persistent]}
---
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata:
  name: standard
  annotations: {storageclass.kubernetes.io/is-default-class: "true"}
provisioner: DRIVER
reclaimPolicy: Delete
volumeBindingMode: WaitForFirstConsumer
allowVolumeExpansion: true
parameters:
  csi.storage.k8s.io/provisioner-secret-name: SECRET
  csi.storage.k8s.io/provisioner-secret-namespace: kube-system
  csi.storage.k8s.io/node-publish-secret-name: SECRET
  csi.storage.k8s.io/node-publish-secret-namespace: kube-system
allowedTopologies:
- matchLabelExpressions: [{key: topology.DRIVER/node, values: [NODE]}]
---
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: immediate}
provisioner: DRIVER
reclaimPolicy: Retain
volumeBindingMode: Immediate
allowVolumeExpansion: true
parameters:
  csi.storage.k8s.io/provisioner-secret-name: SECRET
  csi.storage.k8s.io/provisioner-secret-namespace: kube-system
  csi.storage.k8s.io/node-publish-secret-name: SECRET
  csi.storage.k8s.io/node-publish-secret-namespace: kube-system
---
apiVersion: storage.k8s.io/v1
kind: VolumeAttributesClass
metadata: {name: silver}
driverName: DRIVER
parameters: {speed: "1"}
---
apiVersion: storage.k8s.io/v1
kind: VolumeAttributesClass
metadata: {name: gold}
driverName: DRIVER
parameters: {speed: "2"}
---
apiVersion: snapshot.storage.k8s.io/v1
kind: VolumeSnapshotClass
metadata:
  name: standard
  annotations: {snapshot.storage.kubernetes.io/is-default-class: "true"}
driver: DRIVER
deletionPolicy: Delete
parameters: {csi.storage.k8s.io/snapshotter-secret-name: SECRET, csi.storage.k8s.io/snapshotter-secret-namespace: kube-system}
---
apiVersion: v1
kind: Secret
metadata: {name: SECRET, namespace: kube-system}
stringData: {password: of the storage system}
`
