Feature: Editors know every sentence
  Who writes a scenario is helped by an editor that completes sentences and leads to their code. One that knows half of
  them marks the others as wrong, and people write a second sentence for what the first already says.

  Rule: The settings of VS Code's Cucumber extension come from the sentences

    @slow
    Scenario: the settings are current
      Then ".vscode/settings.json" is what the sentences ask for

    Scenario: no sentence is hidden from editors
      Then every sentence is a literal that editors can read
