package stories

func hostside() []Story { return nil }
