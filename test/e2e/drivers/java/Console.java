// Runs each statement that is given on the connection of a URL and prints, one line for each, its columns and
// how many rows came, or the SQLSTATE of the refusal. Nothing else.
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;

public class Console {
  public static void main(String[] args) throws SQLException {
    try (Connection connection = DriverManager.getConnection(args[0]);
        Statement statement = connection.createStatement()) {
      for (int at = 1; at < args.length; at++) {
        System.out.println(run(statement, args[at]));
      }
    }
  }

  private static String run(Statement statement, String text) {
    try {
      if (!statement.execute(text)) {
        return "done";
      }
      try (ResultSet rows = statement.getResultSet()) {
        int columns = rows.getMetaData().getColumnCount();
        StringBuilder names = new StringBuilder();
        for (int column = 1; column <= columns; column++) {
          names.append(column > 1 ? "," : "").append(rows.getMetaData().getColumnName(column));
        }
        int count = 0;
        while (rows.next()) {
          for (int column = 1; column <= columns; column++) {
            rows.getObject(column);
          }
          count++;
        }
        return names + " " + count;
      }
    } catch (SQLException refused) {
      return refused.getSQLState();
    }
  }
}
