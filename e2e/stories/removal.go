package stories

func removal() []Story { return nil }
