package stories

func workloads() []Story { return nil }
