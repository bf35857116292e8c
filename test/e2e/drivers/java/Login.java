// Logs in with each URL that is given and says, one line for each, `in` or the SQLSTATE and the words of the
// refusal. Nothing else.
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;

public class Login {
  public static void main(String[] urls) {
    for (String url : urls) {
      System.out.println(attempt(url));
    }
  }

  private static String attempt(String url) {
    try (Connection connection = DriverManager.getConnection(url);
        Statement statement = connection.createStatement();
        ResultSet rows = statement.executeQuery("select 1")) {
      return rows.next() ? "in" : "no row";
    } catch (SQLException refused) {
      return refused.getSQLState() + " " + refused.getMessage().replace('\n', ' ');
    }
  }
}
