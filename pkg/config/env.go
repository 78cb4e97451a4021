package config

// environment is what the downward API tells beyond fields of the file.
type environment struct {
	podName, podUID string
	// hostServiceIP is the ClusterIP of the host's own `default/kubernetes`.
	hostServiceIP string
}

// applyEnv takes over what the pod was told by its manifest and by kubelet.
func (c *Config) applyEnv(lookup func(string) (string, bool)) {
	for _, field := range fields(c) {
		if field.Env == "" {
			continue
		}
		if value, ok := lookup(field.Env); ok && value != "" {
			_ = field.value.Set(value) // only text fields have Env, and those take anything; Complete checks it
		}
	}
	get := func(name string) string {
		value, _ := lookup(name)
		return value
	}
	c.environment = environment{
		podName:       get("POD_NAME"),
		podUID:        get("POD_UID"),
		hostServiceIP: get("KUBERNETES_SERVICE_HOST"),
	}
}
