package stories

func crash() []Story { return nil }
